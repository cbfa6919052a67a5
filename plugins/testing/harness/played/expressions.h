// TensorRT's dimension expressions, played: symbols and operations that can be read as text and evaluated.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>

namespace harness
{

//! A dimension: a constant, a named symbol with a value, or an operation on two others.
class Expression final : public nvinfer1::IDimensionExpr
{
public:
    Expression(std::string text, std::int64_t value, bool constant);

    std::string const& text() const noexcept
    {
        return mText;
    }

    std::int64_t value() const noexcept
    {
        return mValue;
    }

private:
    class Implementation;

    std::string mText;
    std::int64_t mValue;
    std::shared_ptr<nvinfer1::apiv::VDimensionExpr> mHeld;
};

//! Builds expressions and owns them.
class ExpressionBuilder final : public nvinfer1::IExprBuilder
{
public:
    ExpressionBuilder();

    //! A dimension that is known only when the engine runs; it has the value already, for `Expression::value`.
    nvinfer1::IDimensionExpr const* symbol(std::string const& name, std::int64_t value);

    //! A dimension that is known while the network is built.
    nvinfer1::IDimensionExpr const* fixed(std::int64_t value);

private:
    class Implementation;

    std::deque<Expression> mExpressions;
    std::shared_ptr<nvinfer1::apiv::VExprBuilder> mHeld;
};

//! What the builder made.
inline Expression const& read(nvinfer1::IDimensionExpr const* expression)
{
    return *static_cast<Expression const*>(expression);
}

} // namespace harness
