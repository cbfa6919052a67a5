#include "testing/harness/played/expressions.h"

#include <algorithm>
#include <utility>

namespace harness
{

using nvinfer1::DimensionOperation;
using nvinfer1::IDimensionExpr;

class Expression::Implementation final : public nvinfer1::apiv::VDimensionExpr
{
public:
    Implementation(std::int64_t value, bool constant)
        : mValue(value)
        , mConstant(constant)
    {}

    bool isConstant() const override
    {
        return mConstant;
    }

    //! A symbol has no value while the network is built.
    std::int64_t getConstantValue() const override
    {
        return mConstant ? mValue : INT64_MIN;
    }

    bool isSizeTensor() const override
    {
        return false;
    }

private:
    std::int64_t mValue;
    bool mConstant;
};

Expression::Expression(std::string text, std::int64_t value, bool constant)
    : mText(std::move(text))
    , mValue(value)
    , mHeld(std::make_shared<Implementation>(value, constant))
{
    mImpl = mHeld.get();
}

namespace
{

std::pair<char const*, std::int64_t> apply(DimensionOperation operation, std::int64_t a, std::int64_t b)
{
    switch (operation)
    {
    case DimensionOperation::kSUM: return {"+", a + b};
    case DimensionOperation::kPROD: return {"*", a * b};
    case DimensionOperation::kMAX: return {"max", std::max(a, b)};
    case DimensionOperation::kMIN: return {"min", std::min(a, b)};
    case DimensionOperation::kSUB: return {"-", a - b};
    case DimensionOperation::kEQUAL: return {"==", a == b ? 1 : 0};
    case DimensionOperation::kLESS: return {"<", a < b ? 1 : 0};
    case DimensionOperation::kFLOOR_DIV: return {"/", b == 0 ? 0 : a / b};
    case DimensionOperation::kCEIL_DIV: return {"ceil/", b == 0 ? 0 : (a + b - 1) / b};
    }
    return {"?", 0};
}

} // namespace

class ExpressionBuilder::Implementation final : public nvinfer1::apiv::VExprBuilder
{
public:
    explicit Implementation(std::deque<Expression>& expressions)
        : mExpressions(expressions)
    {}

    IDimensionExpr const* constant(std::int64_t value) override
    {
        return &mExpressions.emplace_back(std::to_string(value), value, true);
    }

    IDimensionExpr const* operation(
        DimensionOperation op, IDimensionExpr const& first, IDimensionExpr const& second) override
    {
        auto const result = apply(op, read(&first).value(), read(&second).value());
        bool const constant = first.isConstant() && second.isConstant();
        return &mExpressions.emplace_back(
            "(" + read(&first).text() + result.first + read(&second).text() + ")", result.second, constant);
    }

    IDimensionExpr const* declareSizeTensor(std::int32_t, IDimensionExpr const&, IDimensionExpr const&) override
    {
        return nullptr; // our ops have no output whose size depends on data
    }

private:
    std::deque<Expression>& mExpressions;
};

ExpressionBuilder::ExpressionBuilder()
    : mHeld(std::make_shared<Implementation>(mExpressions))
{
    mImpl = mHeld.get();
}

IDimensionExpr const* ExpressionBuilder::symbol(std::string const& name, std::int64_t value)
{
    return &mExpressions.emplace_back(name, value, false);
}

IDimensionExpr const* ExpressionBuilder::fixed(std::int64_t value)
{
    return mHeld->constant(value);
}

} // namespace harness
