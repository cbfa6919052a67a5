// Greedy NMS by one block, 32 boxes at a time, against a list of kept boxes that grows.
#pragma once

#include "common/box_math.h"
#include "common/device/block_ops.cuh"

namespace maskline
{

//! The boxes that a block decides on next, in shared memory.
struct NmsChunk
{
    Box boxes[kWARP];
    float areas[kWARP];
    bool valid[kWARP];           //!< takes part
    unsigned suppressors[kWARP]; //!< bit i: box i of the chunk, a better one, overlaps this one
    bool alive[kWARP];           //!< valid, and no box of earlier chunks overlaps it
    unsigned kept;               //!< the answer
};

//! Which boxes of a warp's 32 stay, when box i suppresses those that have bit i in `suppressors`, if it stays itself.
//!
//! Box j stays if it is alive and none of its suppressors stays; all of them are better (lower bits). Starting with all
//! that are alive, step t settles every box that hangs on a chain of at most t others: at most 32 steps, mostly two or
//! three, and what does not change any more is the answer of the loop over the boxes.
__device__ inline unsigned settle(bool alive, unsigned suppressors)
{
    unsigned kept = __ballot_sync(kALL_LANES, alive);
#pragma unroll 1
    for (int step = 0; step < kWARP; ++step)
    {
        unsigned const next = __ballot_sync(kALL_LANES, alive && (suppressors & kept) == 0);
        if (next == kept)
        {
            break;
        }
        kept = next;
    }
    return kept;
}

//! Decides on the chunk's boxes and appends those that stay; called by all threads of a block.
//!
//! `chunk.boxes`, `areas` and `valid` were written and a barrier has followed. Ends with a barrier; then `chunk.kept`
//! says which boxes stay.
//!
//! @param kept and `keptAreas`: the list, in shared or global memory, room for `limit`.
//! @param count of the list.
//! @param limit the list grows no longer than this; boxes that would come later do not stay.
//! @return the list's new length.
__device__ __forceinline__ int blockNmsChunk(
    NmsChunk& chunk, Box* kept, float* keptAreas, int count, int limit, float thresh)
{
    int const lane = laneId();
    for (int j = warpId(); j < kWARP; j += warpCount())
    {
        Box const box = chunk.boxes[j];
        float const area = chunk.areas[j];
        bool alive = chunk.valid[j];
        for (int first = 0; first < count && alive; first += kWARP)
        {
            int const k = first + lane;
            alive = __any_sync(kALL_LANES, k < count && overlaps(kept[k], keptAreas[k], box, area, thresh)) == 0;
        }
        bool const over = lane < j && overlaps(chunk.boxes[lane], chunk.areas[lane], box, area, thresh);
        unsigned const suppressors = __ballot_sync(kALL_LANES, over);
        if (lane == 0)
        {
            chunk.suppressors[j] = suppressors;
            chunk.alive[j] = alive;
        }
    }
    __syncthreads();
    if (warpId() == 0)
    {
        unsigned const all = settle(chunk.alive[lane], chunk.suppressors[lane]);
        bool const stays = (all >> lane & 1U) != 0;
        int const place = count + __popc(all & lanesBelow(lane));
        if (stays && place < limit)
        {
            kept[place] = chunk.boxes[lane];
            keptAreas[place] = chunk.areas[lane];
        }
        unsigned const within = __ballot_sync(kALL_LANES, stays && place < limit);
        if (lane == 0)
        {
            chunk.kept = within;
        }
    }
    __syncthreads();
    return count + __popc(chunk.kept);
}

} // namespace maskline
