// What tensors a node of an op takes and gives: names, types and how their dimensions hang together.
//
// Said once for each op, and checked wherever TensorRT or ONNX Runtime shows shapes.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace maskline
{

//! What was asked of an op breaks a rule of it. The text says op, rule, what was got and what was expected.
class NodeError : public std::invalid_argument
{
    using std::invalid_argument::invalid_argument;
};

//! The lengths of a tensor; below zero: not known yet.
using Shape = std::vector<std::int64_t>;

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

//! Types a tensor may have; in TensorRT formats, too.
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

//! The tensors of one node.
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

    //! @throws NodeError for another number of tensors.
    void checkCounts(std::int32_t numInputs, std::int32_t numOutputs) const;

    //! Checks the shapes of all inputs; a length below zero is one not known yet.
    //!
    //! @throws NodeError for a wrong rank, or a length that breaks the signature.
    void checkShapes(std::vector<Shape> const& inputs) const;

    //! The shapes of all outputs for those of the inputs, which have passed `checkShapes`; a length that depends on one
    //! that is not known is not known.
    std::vector<Shape> outputShapes(std::vector<Shape> const& inputs) const;

    //! Where a letter is first said: the position of the input and the axis.
    std::pair<std::int32_t, std::int32_t> origin(std::int32_t letter) const;

    //! Position of the first tensor of features; -1: there is none.
    std::int32_t firstFeatures() const noexcept;

    //! Whether a tensor may have another type than the one that its kind names.
    bool isOfManyTypes() const noexcept;

    //! Input or output, by position.
    Tensor const& tensor(std::int32_t position) const noexcept;

private:
    std::string mOp;
    std::vector<Tensor> mInputs;
    std::vector<Tensor> mOutputs;
};

//! "[2,1000,4]".
std::string describe(Shape const& shape);

//! The number of elements; the lengths are all known.
std::int64_t volume(Shape const& shape) noexcept;

} // namespace maskline
