// What tensors a plugin takes and gives: names, types, formats and how their dimensions hang together.
//
// Said once for each op, and checked wherever TensorRT shows a plugin shapes or formats.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <string>
#include <vector>

namespace maskline
{

//! One dimension of a tensor: a number, a letter (the same letter is the same length everywhere), a letter of one
//! level of the pyramid, or the product of two letters.
class Dim
{
public:
    Dim(std::int64_t length) // NOLINT: `{'B', 'R', 4}` reads as the documents do
        : mLength(length)
    {}
    Dim(char letter) // NOLINT
        : mFirst(letter)
    {}
    Dim(int length) // NOLINT
        : mLength(length)
    {}

    static Dim ofLevel(char letter, std::int32_t level)
    {
        Dim dim(letter);
        dim.mFirst += 256 * (level + 1);
        return dim;
    }

    static Dim product(char first, char second)
    {
        Dim dim(first);
        dim.mSecond = second;
        return dim;
    }

    bool isConstant() const
    {
        return mFirst == 0;
    }

    bool isProduct() const
    {
        return mSecond != 0;
    }

    std::int64_t length() const
    {
        return mLength;
    }

    std::int32_t first() const
    {
        return mFirst;
    }

    std::int32_t second() const
    {
        return mSecond;
    }

private:
    std::int64_t mLength{0};
    std::int32_t mFirst{0};
    std::int32_t mSecond{0};
};

//! Types and formats a tensor may have.
enum class TensorKind
{
    kFLOAT32,  //!< FLOAT, linear
    kINT32,    //!< INT32, linear
    kREAL,     //!< FLOAT, HALF or BF16, linear
    kFEATURES, //!< kREAL, or HALF or BF16 with channels packed by eight; all features of a node alike
};

struct Tensor
{
    std::string name; //!< for error texts
    TensorKind kind;
    std::vector<Dim> dims;
};

//! The tensors of one plugin.
class Signature
{
public:
    Signature(std::string op, std::vector<Tensor> inputs, std::vector<Tensor> outputs);

    std::string const& op() const noexcept
    {
        return mOp;
    }

    std::vector<Tensor> const& inputs() const noexcept
    {
        return mInputs;
    }

    std::vector<Tensor> const& outputs() const noexcept
    {
        return mOutputs;
    }

    //! @throws PluginError when TensorRT shows another number of tensors.
    void checkCounts(std::int32_t numInputs, std::int32_t numOutputs) const;

    //! Checks the shapes of all inputs; a length below zero is one not known yet.
    //!
    //! @throws PluginError for a wrong rank, or a length that breaks the signature.
    void checkShapes(std::vector<nvinfer1::Dims> const& inputs) const;

    //! The shapes of all outputs for those of the inputs, which have passed `checkShapes` and are all known.
    std::vector<nvinfer1::Dims> outputShapes(std::vector<nvinfer1::Dims> const& inputs) const;

    //! The same with TensorRT's expressions.
    void outputShapes(
        nvinfer1::DimsExprs const* inputs, nvinfer1::DimsExprs* outputs, nvinfer1::IExprBuilder& builder) const;

    //! Whether tensor `position` (outputs follow the inputs) may have its type and format, given those before it.
    //!
    //! @param descriptionAt gives the PluginTensorDesc at a position.
    template <typename DescriptionAt>
    bool isSupported(std::int32_t position, DescriptionAt const& descriptionAt) const
    {
        nvinfer1::PluginTensorDesc const& description = descriptionAt(position);
        if (!isAllowed(tensor(position).kind, description.type, description.format))
        {
            return false;
        }
        std::int32_t const features = firstFeatures();
        if (tensor(position).kind != TensorKind::kFEATURES || position <= features)
        {
            return true;
        }
        nvinfer1::PluginTensorDesc const& first = descriptionAt(features);
        return description.type == first.type && description.format == first.format;
    }

    //! Position of the first tensor of features; -1: there is none.
    std::int32_t firstFeatures() const noexcept;

    //! Input or output, by position.
    Tensor const& tensor(std::int32_t position) const noexcept;

    static bool isAllowed(TensorKind kind, nvinfer1::DataType type, nvinfer1::TensorFormat format) noexcept;

private:
    std::string mOp;
    std::vector<Tensor> mInputs;
    std::vector<Tensor> mOutputs;
};

//! "[2,1000,4]".
std::string describe(nvinfer1::Dims const& dims);

//! "HALF, channels packed by 8".
std::string describe(nvinfer1::DataType type, nvinfer1::TensorFormat format);

//! What a kind allows, in words.
std::string describe(TensorKind kind);

//! The number of elements; the lengths are all known.
std::int64_t volume(nvinfer1::Dims const& dims) noexcept;

} // namespace maskline
