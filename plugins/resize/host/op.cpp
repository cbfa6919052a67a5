#include "resize/host/op.h"

#include "common/host/parallel.h"
#include "resize/host/pillow.h"
#include "resize/host/taps.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

namespace maskline
{
namespace resize_host
{
namespace
{

constexpr std::int64_t kCHANNELS = 3;
constexpr std::int64_t kGRAIN_ROWS = 16;
// Values of the result that are worth another thread: about a millisecond of work.
constexpr double kVALUES_A_THREAD = 500000;

//! OpenCV's arithmetic, in whole numbers.
struct Cv2
{
    using Weight = std::int16_t;
    using Line = std::int16_t; //!< 255 * 2048 / 16 fits

    static Line across(int left, int right, Weight near, Weight far)
    {
        return static_cast<Line>((left * near + right * far) >> 4);
    }

    static std::uint8_t down(Line upper, Line lower, Weight near, Weight far)
    {
        return static_cast<std::uint8_t>(((upper * near >> 16) + (lower * far >> 16) + 2) >> 2);
    }
};

//! PyTorch's arithmetic, in float32.
struct Torch
{
    using Weight = float;
    using Line = float;

    static Line across(int left, int right, Weight near, Weight far)
    {
        return static_cast<float>(left) * near + static_cast<float>(right) * far;
    }

    static std::uint8_t down(Line upper, Line lower, Weight near, Weight far)
    {
        // At 2^23 a float's last bit is 1: the addition rounds, halves to even, in any vector of a processor.
        constexpr float kROUND = 8388608.0F;
        return static_cast<std::uint8_t>(upper * near + lower * far + kROUND - kROUND);
    }
};

//! The two lines of the picture, of the result's width, that a row of the result lies between; kept for the next row.
template <typename Filter>
class Lines
{
public:
    using Values = std::vector<typename Filter::Line>;

    Lines(std::uint8_t const* image, std::int32_t width, Taps<typename Filter::Weight> const& across)
        : mImage(image)
        , mWidth(width)
        , mAcross(across)
        , mUpper(across.first.size() * kCHANNELS)
        , mLower(mUpper)
    {}

    void moveTo(std::int32_t upper, std::int32_t lower)
    {
        if (upper == mLowerRow)
        {
            std::swap(mUpper, mLower);
            std::swap(mUpperRow, mLowerRow);
        }
        fill(upper, mUpper, mUpperRow);
        fill(lower, mLower, mLowerRow);
    }

    Values const& upper() const
    {
        return mUpper;
    }

    Values const& lower() const
    {
        return mLower;
    }

private:
    void fill(std::int32_t row, Values& line, std::int32_t& holds)
    {
        if (row == holds)
        {
            return;
        }
        holds = row;
        std::uint8_t const* pixels = mImage + row * (mWidth * kCHANNELS);
        typename Filter::Line* out = line.data();
        for (std::size_t x = 0; x < mAcross.first.size(); ++x, out += kCHANNELS)
        {
            std::uint8_t const* left = pixels + mAcross.first[x] * kCHANNELS;
            std::uint8_t const* right = pixels + mAcross.second[x] * kCHANNELS;
            for (std::int64_t channel = 0; channel < kCHANNELS; ++channel)
            {
                out[channel] = Filter::across(left[channel], right[channel], mAcross.near[x], mAcross.far[x]);
            }
        }
    }

    std::uint8_t const* mImage;
    std::int64_t mWidth;
    Taps<typename Filter::Weight> const& mAcross;
    Values mUpper;
    Values mLower;
    std::int32_t mUpperRow{-1};
    std::int32_t mLowerRow{-1};
};

//! How many of the threads that the caller allows pay for themselves.
int threadsFor(ResizeShape const& shape, int most)
{
    double const values = static_cast<double>(shape.resizedHeight) * shape.resizedWidth * kCHANNELS;
    return static_cast<int>(std::min<double>(threadCount(most), 1 + std::floor(values / kVALUES_A_THREAD)));
}

template <typename Filter>
void resizeBy(ResizeShape const& shape, Taps<typename Filter::Weight> const& rows,
    Taps<typename Filter::Weight> const& columns, std::uint8_t const* image, int threads, std::uint8_t* resized)
{
    std::int64_t const values = shape.resizedWidth * kCHANNELS;
    parallelFor(shape.resizedHeight, kGRAIN_ROWS, threads, [&](std::int64_t begin, std::int64_t end) {
        Lines<Filter> lines(image, shape.width, columns);
        for (std::int64_t row = begin; row < end; ++row)
        {
            auto const at = static_cast<std::size_t>(row);
            lines.moveTo(rows.first[at], rows.second[at]);
            auto const near = rows.near[at];
            auto const far = rows.far[at];
            auto const* upper = lines.upper().data();
            auto const* lower = lines.lower().data();
            std::uint8_t* out = resized + row * values;
            for (std::int64_t i = 0; i < values; ++i)
            {
                out[i] = Filter::down(upper[i], lower[i], near, far);
            }
        }
    });
}

//! Exactly half the size, as OpenCV does it: the mean of 2 x 2 pixels, halves up.
void meansOfFour(ResizeShape const& shape, std::uint8_t const* image, int threads, std::uint8_t* resized)
{
    std::int64_t const values = shape.resizedWidth * kCHANNELS;
    parallelFor(shape.resizedHeight, kGRAIN_ROWS, threads, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row)
        {
            std::uint8_t const* upper = image + 4 * row * values;
            std::uint8_t const* lower = upper + 2 * values;
            std::uint8_t* out = resized + row * values;
            for (std::int64_t i = 0; i < values; ++i)
            {
                std::int64_t const left = i / kCHANNELS * kCHANNELS + i;
                std::int64_t const right = left + kCHANNELS;
                out[i] = static_cast<std::uint8_t>((upper[left] + upper[right] + lower[left] + lower[right] + 2) >> 2);
            }
        }
    });
}

} // namespace
} // namespace resize_host

using namespace resize_host;

std::string ResizeShape::check() const
{
    std::pair<char const*, std::int32_t> const sides[]
        = {{"height", height}, {"width", width}, {"resized height", resizedHeight}, {"resized width", resizedWidth}};
    for (auto const& side : sides)
    {
        if (side.second < 1)
        {
            return std::string(side.first) + ": got " + std::to_string(side.second) + ", expected 1 or more";
        }
    }
    return "";
}

void resize(
    ResizeShape const& shape, ResizeFilter filter, std::uint8_t const* image, int threads, std::uint8_t* resized)
{
    int const used = threadsFor(shape, threads);
    if (filter == ResizeFilter::kTORCH)
    {
        auto const rows = torchTaps(shape.height, shape.resizedHeight);
        resizeBy<Torch>(shape, rows, torchTaps(shape.width, shape.resizedWidth), image, used, resized);
    }
    else if (filter == ResizeFilter::kPILLOW)
    {
        resizeAsPillow(shape, image, used, resized);
    }
    else if (shape.height == 2LL * shape.resizedHeight && shape.width == 2LL * shape.resizedWidth)
    {
        meansOfFour(shape, image, used, resized);
    }
    else
    {
        auto const rows = cv2Taps(shape.height, shape.resizedHeight, false);
        resizeBy<Cv2>(shape, rows, cv2Taps(shape.width, shape.resizedWidth, true), image, used, resized);
    }
}

} // namespace maskline
