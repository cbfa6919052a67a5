#include "roi_align/host/plan.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace maskline
{
namespace
{

//! The windows that hold all cells of a run of bins, or nothing (`fits` false).
struct Windows
{
    std::int32_t first = 0;
    std::int32_t second = -1; //!< -1: one window is enough
    std::int32_t last = 0;    //!< greatest cell
    bool fits = true;
};

//! `windows` grown by the taps of one more bin. Cells of a later bin may lie before those of an earlier one by a cell
//! only (neighbouring bins share cells), so they are in a window already.
Windows grown(Windows windows, bool empty, RoIAlignTap const* taps, std::int32_t count)
{
    if (empty)
    {
        windows.first = windows.last = taps[0].cell;
    }
    for (std::int32_t i = 0; i < count; ++i)
    {
        std::int32_t const cell = taps[i].cell;
        if (cell >= windows.first + kROI_ALIGN_LANES && windows.second < 0)
        {
            windows.second = cell;
        }
        bool const inFirst = cell >= windows.first && cell < windows.first + kROI_ALIGN_LANES;
        bool const inSecond = windows.second >= 0 && cell >= windows.second && cell < windows.second + kROI_ALIGN_LANES;
        windows.fits = windows.fits && (inFirst || inSecond);
        windows.last = std::max(windows.last, cell);
    }
    return windows;
}

std::int32_t mostTaps(RoIAlignTaps const& list, std::int32_t begin, std::int32_t end)
{
    std::int32_t most = 0;
    for (std::int32_t bin = begin; bin < end; ++bin)
    {
        most = std::max(most, list.begins[bin + 1] - list.begins[bin]);
    }
    return most;
}

bool hasEmptyBin(RoIAlignTaps const& list)
{
    return std::adjacent_find(list.begins.begin(), list.begins.end()) != list.begins.end();
}

template <typename T>
T* appended(RoIAlignProgram& program, std::size_t blocks)
{
    std::size_t const at = program.blocks.size();
    program.blocks.resize(at + blocks);
    return reinterpret_cast<T*>(program.blocks.data() + at);
}

std::uint32_t lanes(std::int32_t count)
{
    return count >= kROI_ALIGN_LANES ? 0xffffU : (1U << count) - 1U;
}

//! Lane of a cell, as a permutation of two vectors counts: the second one's lanes are 16..31.
std::int32_t laneOf(Windows const& windows, std::int32_t cell)
{
    bool const inFirst = cell < windows.first + kROI_ALIGN_LANES;
    return inFirst ? cell - windows.first : cell - windows.second + kROI_ALIGN_LANES;
}

RoIAlignStripKind kindOf(Windows const& windows, std::int32_t bins, std::int32_t pooledSide)
{
    if (windows.second >= 0)
    {
        return windows.last - windows.second < kROI_ALIGN_NARROW ? RoIAlignStripKind::kWIDE_AND_NARROW
                                                                 : RoIAlignStripKind::kTWO_WINDOWS;
    }
    if (bins < pooledSide || 2 * bins > kROI_ALIGN_LANES)
    {
        return RoIAlignStripKind::kONE_WINDOW;
    }
    return windows.last - windows.first < kROI_ALIGN_NARROW ? RoIAlignStripKind::kTWO_NARROW_ROWS
                                                            : RoIAlignStripKind::kTWO_ROWS;
}

//! How many lanes after those of a pooled row the cells of the next one lie; 0 where a strip works on one.
std::int32_t nextRowLane(RoIAlignStripKind kind)
{
    switch (kind)
    {
    case RoIAlignStripKind::kTWO_NARROW_ROWS: return kROI_ALIGN_NARROW;
    case RoIAlignStripKind::kTWO_ROWS: return kROI_ALIGN_LANES;
    default: return 0;
    }
}

//! Appends the bins begin..end-1 of a box.
void appendStrip(RoIAlignTaps const& columns, std::int32_t begin, std::int32_t end, std::int32_t pooledSide,
    Windows const& windows, RoIAlignProgram& program)
{
    std::int32_t const bins = end - begin;
    bool const one = windows.second < 0;
    RoIAlignStripKind const kind = kindOf(windows, bins, pooledSide);
    std::int32_t const nextRow = nextRowLane(kind);
    std::int32_t const taps = mostTaps(columns, begin, end);
    RoIAlignStripHead head{};
    head.kind = kind;
    head.taps = taps;
    head.firstBin = begin;
    head.bins = bins;
    head.windows[0] = windows.first;
    head.windows[1] = one ? 0 : windows.second;
    head.masks[0] = lanes((one ? windows.last : std::min(windows.last, windows.second - 1)) - windows.first + 1);
    head.masks[1] = one ? 0U : lanes(windows.last - windows.second + 1);
    std::memcpy(appended<RoIAlignStripHead>(program, 1), &head, sizeof(head));

    std::size_t const numbers = static_cast<std::size_t>(taps);
    auto* const index = appended<std::int32_t>(program, 2 * numbers);
    auto* const weight = reinterpret_cast<float*>(index + numbers * kROI_ALIGN_LANES);
    std::memset(index, 0, 2 * numbers * sizeof(RoIAlignBlock));
    for (std::int32_t bin = 0; bin < bins; ++bin)
    {
        std::int32_t const first = columns.begins[begin + bin];
        std::int32_t const found = columns.begins[begin + bin + 1] - first;
        for (std::int32_t k = 0; k < taps; ++k)
        {
            RoIAlignTap const tap = columns.taps[first + std::min(k, found - 1)];
            std::int32_t const at = k * kROI_ALIGN_LANES + bin;
            index[at] = laneOf(windows, tap.cell);
            weight[at] = k < found ? tap.weight : 0.0F;
            if (nextRow > 0) // its bins follow this one's
            {
                index[at + bins] = index[at] + nextRow;
                weight[at + bins] = weight[at];
            }
        }
    }
}

//! Appends the strips of a box; false when a bin fits no two windows.
bool appendStrips(RoIAlignTaps const& columns, std::int32_t pooledSide, RoIAlignProgram& program, std::int32_t& strips)
{
    strips = 0;
    for (std::int32_t begin = 0; begin < pooledSide; ++strips)
    {
        Windows windows;
        std::int32_t end = begin;
        while (end < pooledSide && end - begin < kROI_ALIGN_LANES)
        {
            std::int32_t const first = columns.begins[end];
            Windows const next
                = grown(windows, end == begin, columns.taps.data() + first, columns.begins[end + 1] - first);
            if (!next.fits)
            {
                break;
            }
            windows = next;
            ++end;
        }
        if (end == begin)
        {
            return false;
        }
        appendStrip(columns, begin, end, pooledSide, windows, program);
        begin = end;
    }
    return true;
}

//! Appends the pairs of the pooled rows; returns how many each row has.
std::int32_t appendRows(RoIAlignTaps const& rows, std::int32_t pooledSide, std::int32_t width, RoIAlignProgram& program)
{
    std::int32_t const most = mostTaps(rows, 0, pooledSide);
    std::size_t const blocks = blocksOf(static_cast<std::size_t>(pooledSide) * static_cast<std::size_t>(most));
    auto* const offset = appended<std::int32_t>(program, 2 * blocks);
    auto* const weight = reinterpret_cast<float*>(offset + blocks * kROI_ALIGN_LANES);
    for (std::int32_t i = 0; i < pooledSide; ++i)
    {
        std::int32_t const first = rows.begins[i];
        std::int32_t const found = rows.begins[i + 1] - first;
        for (std::int32_t k = 0; k < most; ++k)
        {
            RoIAlignTap const tap = rows.taps[first + std::min(k, found - 1)];
            offset[i * most + k] = tap.cell * width;
            weight[i * most + k] = k < found ? tap.weight : 0.0F;
        }
    }
    return most;
}

} // namespace

bool appendBox(
    RoIAlignCall const& call, RoIAlignPlace const& place, RoIAlignPlanScratch& scratch, RoIAlignProgram& program)
{
    std::int32_t const side = call.attributes.pooledSide;
    fillTaps(rowsOf(call, place), side, scratch.rows);
    fillTaps(columnsOf(call, place), side, scratch.columns);
    if (hasEmptyBin(scratch.rows) || hasEmptyBin(scratch.columns))
    {
        return false;
    }
    std::size_t const before = program.blocks.size();
    appended<RoIAlignBoxHead>(program, 1);
    RoIAlignBoxHead head{};
    head.map = imageOf(call, place.image, place.level);
    head.plane = planeElements(call.shape, place.level);
    head.row = place.row;
    head.rowTaps = appendRows(scratch.rows, side, call.shape.widths[place.level], program);
    if (!appendStrips(scratch.columns, side, program, head.strips))
    {
        program.blocks.resize(before);
        return false;
    }
    head.blocks = static_cast<std::int32_t>(program.blocks.size() - before);
    std::memcpy(program.blocks.data() + before, &head, sizeof(head));
    ++program.boxes;
    return true;
}

} // namespace maskline
