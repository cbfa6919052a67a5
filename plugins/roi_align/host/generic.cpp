#include "roi_align/host/generic.h"

#include "common/host/elements.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

namespace maskline
{
namespace
{

//! One box's map and output. Channels run in `groups` of `inner` that lie side by side: 1 with NCHW, all with kHWC8.
template <typename Element>
struct View
{
    using Raw = typename Element::Raw;

    View(RoIAlignCall const& call, RoIAlignPlace const& place)
        : packed(call.shape.layout == FeatureLayout::kHWC8)
        , groups(packed ? 1 : call.shape.channels)
        , inner(packed ? storedChannels(call.shape) : 1)
        , used(packed ? call.shape.channels : 1)
        , width(call.shape.widths[place.level])
        , plane(std::int64_t{call.shape.heights[place.level]} * width)
        , pooledSide(call.attributes.pooledSide)
        , map(static_cast<Raw const*>(call.features[place.level])
              + place.image * imageElements(call.shape, place.level))
        , output(static_cast<Raw*>(call.output)
              + std::int64_t{place.row} * storedChannels(call.shape) * pooledSide * pooledSide)
    {}

    //! The elements of a cell in a group of channels.
    Raw const* cell(std::int64_t group, std::int32_t y, std::int32_t x) const
    {
        return map + group * plane + (std::int64_t{y} * width + x) * inner;
    }

    //! Writes a bin; channels past C are zero.
    void write(std::int64_t group, std::int32_t bin, float const* values) const
    {
        Raw* const to = output + (group * pooledSide * pooledSide + bin) * inner;
        for (std::int32_t c = 0; c < inner; ++c)
        {
            to[c] = Element::store(c < used ? values[c] : 0.0F);
        }
    }

    bool packed;
    std::int64_t groups;
    std::int32_t inner;
    std::int32_t used;
    std::int32_t width;
    std::int64_t plane;
    std::int32_t pooledSide;
    Raw const* map;
    Raw* output;
};

//! Average of the bins of one plane: rows are summed into a buffer as wide as the box, then columns.
template <typename Element>
void averagePlane(View<Element> const& view, std::int64_t group, RoIAlignScratch& scratch)
{
    auto const& rows = scratch.rows;
    auto const& columns = scratch.columns;
    std::int32_t const side = view.pooledSide;
    std::int32_t const first = columns.taps[0].cell;
    std::int32_t const last = columns.taps[static_cast<std::size_t>(columns.begins.back()) - 1].cell;
    float* const sums = scratch.sums.data();
    for (std::int32_t i = 0; i < side; ++i)
    {
        std::fill_n(sums, last - first + 1, 0.0F);
        for (std::int32_t k = rows.begins[i]; k < rows.begins[i + 1]; ++k)
        {
            auto const* const from = view.cell(group, rows.taps[k].cell, first);
            float const weight = rows.taps[k].weight;
            for (std::int32_t x = 0; x <= last - first; ++x)
            {
                sums[x] += weight * Element::load(from[x]);
            }
        }
        for (std::int32_t j = 0; j < side; ++j)
        {
            float value = 0.0F;
            for (std::int32_t k = columns.begins[j]; k < columns.begins[j + 1]; ++k)
            {
                value += columns.taps[k].weight * sums[columns.taps[k].cell - first];
            }
            view.write(group, i * side + j, &value);
        }
    }
}

//! Average of a bin where the channels of a cell lie side by side.
template <typename Element>
void averageBin(View<Element> const& view, std::int32_t i, std::int32_t j, RoIAlignScratch& scratch)
{
    auto const& rows = scratch.rows;
    auto const& columns = scratch.columns;
    float* const sums = scratch.sums.data();
    std::fill_n(sums, view.inner, 0.0F);
    for (std::int32_t k = rows.begins[i]; k < rows.begins[i + 1]; ++k)
    {
        for (std::int32_t l = columns.begins[j]; l < columns.begins[j + 1]; ++l)
        {
            auto const* const from = view.cell(0, rows.taps[k].cell, columns.taps[l].cell);
            float const weight = rows.taps[k].weight * columns.taps[l].weight;
            for (std::int32_t c = 0; c < view.inner; ++c)
            {
                sums[c] += weight * Element::load(from[c]);
            }
        }
    }
    view.write(0, i * view.pooledSide + j, sums);
}

template <typename Element>
void average(RoIAlignCall const& call, RoIAlignPlace const& place, RoIAlignScratch& scratch)
{
    View<Element> const view(call, place);
    fillTaps(rowsOf(call, place), view.pooledSide, scratch.rows);
    fillTaps(columnsOf(call, place), view.pooledSide, scratch.columns);
    if (scratch.rows.begins.back() == 0 || scratch.columns.begins.back() == 0)
    {
        roiAlignNothing(call, place.row); // all of it lies outside
        return;
    }
    scratch.sums.resize(static_cast<std::size_t>(std::max(view.width, view.inner)));
    if (!view.packed)
    {
        for (std::int64_t group = 0; group < view.groups; ++group)
        {
            averagePlane(view, group, scratch);
        }
        return;
    }
    for (std::int32_t bin = 0; bin < view.pooledSide * view.pooledSide; ++bin)
    {
        averageBin(view, bin / view.pooledSide, bin % view.pooledSide, scratch);
    }
}

//! The greatest interpolated value of a bin's sampling points; a point outside of the map reads 0.
template <typename Element>
void maximumBin(View<Element> const& view, RoIAlignAxis const& rows, RoIAlignAxis const& columns, std::int64_t group,
    std::int32_t bin, RoIAlignScratch& scratch)
{
    RoIAlignRange const ys = samplesOf(rows, view.pooledSide, bin / view.pooledSide);
    RoIAlignRange const xs = samplesOf(columns, view.pooledSide, bin % view.pooledSide);
    float* const best = scratch.sums.data();
    bool outside = ys.end - ys.begin < rows.count || xs.end - xs.begin < columns.count;
    std::fill_n(best, view.inner, std::numeric_limits<float>::quiet_NaN());
    for (std::int32_t sy = ys.begin; sy < ys.end; ++sy)
    {
        RoIAlignSample const y = sampleOf(rows, view.pooledSide, sy);
        for (std::int32_t sx = xs.begin; sx < xs.end; ++sx)
        {
            RoIAlignSample const x = sampleOf(columns, view.pooledSide, sx);
            if (!y.inside || !x.inside)
            {
                outside = true;
                continue;
            }
            auto const* const a = view.cell(group, y.low, x.low);
            auto const* const b = view.cell(group, y.low, x.high);
            auto const* const c = view.cell(group, y.high, x.low);
            auto const* const d = view.cell(group, y.high, x.high);
            for (std::int32_t i = 0; i < view.inner; ++i)
            {
                float const top = (1.0F - x.weight) * Element::load(a[i]) + x.weight * Element::load(b[i]);
                float const bottom = (1.0F - x.weight) * Element::load(c[i]) + x.weight * Element::load(d[i]);
                best[i] = greaterOf(best[i], (1.0F - y.weight) * top + y.weight * bottom);
            }
        }
    }
    for (std::int32_t i = 0; outside && i < view.inner; ++i)
    {
        best[i] = greaterOf(best[i], 0.0F);
    }
    view.write(group, bin, best);
}

template <typename Element>
void maximum(RoIAlignCall const& call, RoIAlignPlace const& place, RoIAlignScratch& scratch)
{
    View<Element> const view(call, place);
    RoIAlignAxis const rows = rowsOf(call, place);
    RoIAlignAxis const columns = columnsOf(call, place);
    scratch.sums.resize(static_cast<std::size_t>(view.inner));
    for (std::int64_t group = 0; group < view.groups; ++group)
    {
        for (std::int32_t bin = 0; bin < view.pooledSide * view.pooledSide; ++bin)
        {
            maximumBin(view, rows, columns, group, bin, scratch);
        }
    }
}

//! RoIPool: the greatest cell of each quantised bin; an empty bin is 0.
template <typename Element>
void pool(RoIAlignCall const& call, RoIAlignPlace const& place, RoIAlignScratch& scratch)
{
    View<Element> const view(call, place);
    auto const& attributes = call.attributes;
    std::int32_t const stride = attributes.strides[place.level];
    scratch.sums.resize(static_cast<std::size_t>(view.inner));
    float* const best = scratch.sums.data();
    for (std::int32_t bin = 0; bin < view.pooledSide * view.pooledSide; ++bin)
    {
        RoIAlignRange const ys = poolOf(
            attributes, place.box.y0, place.box.y1, stride, call.shape.heights[place.level], bin / view.pooledSide);
        RoIAlignRange const xs
            = poolOf(attributes, place.box.x0, place.box.x1, stride, view.width, bin % view.pooledSide);
        bool const empty = ys.end <= ys.begin || xs.end <= xs.begin;
        for (std::int64_t group = 0; group < view.groups; ++group)
        {
            std::fill_n(best, view.inner, empty ? 0.0F : std::numeric_limits<float>::quiet_NaN());
            for (std::int32_t y = ys.begin; y < ys.end && !empty; ++y)
            {
                auto const* const from = view.cell(group, y, xs.begin);
                for (std::int32_t i = 0; i < (xs.end - xs.begin) * view.inner; ++i)
                {
                    best[i % view.inner] = greaterOf(best[i % view.inner], Element::load(from[i]));
                }
            }
            view.write(group, bin, best);
        }
    }
}

template <typename Element>
void oneBox(RoIAlignCall const& call, RoIAlignPlace const& place, RoIAlignScratch& scratch)
{
    switch (call.attributes.mode)
    {
    case RoIAlignMode::kALIGN_AVG:
    case RoIAlignMode::kWARP: average<Element>(call, place, scratch); return;
    case RoIAlignMode::kALIGN_MAX: maximum<Element>(call, place, scratch); return;
    case RoIAlignMode::kPOOL: pool<Element>(call, place, scratch); return;
    }
}

} // namespace

void roiAlignGeneric(RoIAlignCall const& call, RoIAlignPlace const& place, RoIAlignScratch& scratch)
{
    switch (call.shape.type)
    {
    case FeatureType::kFLOAT: oneBox<Float32Element>(call, place, scratch); return;
    case FeatureType::kHALF: oneBox<HalfElement>(call, place, scratch); return;
    case FeatureType::kBFLOAT16: oneBox<BFloat16Element>(call, place, scratch); return;
    }
}

void roiAlignNothing(RoIAlignCall const& call, std::int32_t row)
{
    auto const element = static_cast<std::size_t>(elementBytes(call.shape));
    auto const side = static_cast<std::size_t>(call.attributes.pooledSide);
    std::size_t const bytes = static_cast<std::size_t>(storedChannels(call.shape)) * side * side * element;
    std::memset(static_cast<char*>(call.output) + static_cast<std::size_t>(row) * bytes, 0, bytes);
}

} // namespace maskline
