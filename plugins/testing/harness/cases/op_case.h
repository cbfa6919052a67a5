// One op with one set of attributes: what the harness expects of its plugin, written apart from the plugin itself.
//
// Letters: B images, L levels, A anchors a cell, R proposals an image, D detections an image, K foreground classes,
// C channels, Hi Wi level i, P pooled side, M mask side.
#pragma once

#include "testing/harness/played/field_set.h"
#include "testing/harness/played/tensors.h"

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace harness
{

//! The length that each letter stands for.
using Sizes = std::map<std::string, std::int64_t>;

enum class Kind
{
    kFLOAT,    //!< FLOAT, linear
    kINT,      //!< INT32, linear
    kREAL,     //!< FLOAT, HALF or BF16, linear
    kFEATURES, //!< kREAL, or HALF or BF16 in HWC8; all of them alike
};

struct TensorRule
{
    std::string name; //!< as the plugin's error texts call it
    Kind kind;
    std::vector<std::string> dims; //!< "B", "4" or "B*R"
};

struct OpCase
{
    std::string op;
    std::string title; //!< tells cases of one op apart
    FieldSet fields;
    std::vector<TensorRule> inputs;
    std::vector<TensorRule> outputs;
    std::vector<Sizes> sizes; //!< the first is the largest in every letter: the profile's maximum
    bool exact{true};         //!< results have the very bytes of the host library

    //! Values of all inputs, row-major.
    std::function<std::vector<std::vector<double>>(Sizes const&, std::uint32_t seed)> values;

    //! What the host library makes of the inputs. All tensors as `inputs` and `outputs` say, in the given type and
    //! format where they are kREAL or kFEATURES.
    //!
    //! @return its status; 0 is success.
    std::function<int(
        Sizes const&, PluginTensorDesc const& variant, std::vector<Bytes> const& inputs, std::vector<Bytes>& outputs)>
        expected;
};

//! Type and format of the tensors that have a choice.
struct Variant
{
    nvinfer1::DataType type;
    nvinfer1::TensorFormat format;
};

//! The cases of all ops.
std::vector<OpCase> allCases();

OpCase roiAlignCase(bool adaptive);
OpCase proposalNmsCase();
OpCase classwiseNmsCase();
OpCase maskRleCase();

//! Every choice the case's tensors have.
std::vector<Variant> variantsOf(OpCase const& opCase);

//! "B*R" with the letters' lengths.
std::int64_t evaluate(std::string const& dim, Sizes const& sizes);

nvinfer1::Dims shapeOf(TensorRule const& rule, Sizes const& sizes);

//! Descriptions of all inputs, then all outputs.
std::vector<PluginTensorDesc> describeAll(OpCase const& opCase, Sizes const& sizes, Variant variant);

//! Numbers in [low, high) that are the same on every machine.
class Random
{
public:
    explicit Random(std::uint32_t seed)
        : mEngine(seed)
    {}

    double uniform(double low, double high)
    {
        return low + (high - low) * (static_cast<double>(mEngine()) / 4294967296.0);
    }

    std::vector<double> uniform(std::int64_t count, double low, double high);

private:
    std::mt19937 mEngine;
};

} // namespace harness
