#include "roi_align/host/programs.h"

#include "common/host/parallel.h"
#include "roi_align/host/first_reads.h"
#include "roi_align/host/generic.h"
#include "roi_align/host/plan.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

namespace maskline
{
namespace
{

// Boxes whose lines are fetched while as many before them are worked on: few enough that these lines are still in the
// second-level cache when they are read.
constexpr std::size_t kBOXES_A_BATCH = 16;
// An output greater than this is not in a core's caches any more when it is read: it need not go through them.
constexpr std::int64_t kSTREAMED_BYTES = std::int64_t{4} << 20;

//! Cuts the boxes of each image into batches of equal size: lines are fetched evenly only where none is much smaller
//! than the one it is fetched for.
std::vector<RoIAlignBatch> batchesOf(std::vector<RoIAlignPlace> const& places)
{
    std::vector<RoIAlignBatch> batches;
    for (std::size_t begin = 0, end = 0; begin < places.size(); begin = end)
    {
        while (end < places.size() && places[end].image == places[begin].image)
        {
            ++end;
        }
        std::size_t const boxes = end - begin;
        std::size_t const count = (boxes + kBOXES_A_BATCH - 1) / kBOXES_A_BATCH;
        for (std::size_t i = 0; i < count; ++i)
        {
            batches.push_back({begin + boxes * i / count, begin + boxes * (i + 1) / count});
        }
    }
    return batches;
}

//! A call's boxes in batches. Its parts, one more than there are batches, are prepared each by any thread.
class Batches
{
public:
    Batches(RoIAlignCall const& call, std::vector<RoIAlignPlace> const& places)
        : mCall(call)
        , mPlaces(places)
        , mBatches(batchesOf(places))
        , mReads(mBatches.size())
        , mPrograms(mBatches.size())
        , mUnprepared(parts())
    {
        for (std::int32_t image = 0; image < call.shape.images; ++image)
        {
            mPlanes.push_back(planesOf(call, image));
        }
    }

    std::size_t parts() const
    {
        return mBatches.size() + 1;
    }

    //! Part 0 are the first reads, every other one is a batch's program. Boxes that fit none are computed here.
    void prepare(std::size_t part)
    {
        CountDown const whenDone{mUnprepared};
        if (part == 0)
        {
            findFirstReads(mCall, mPlaces, mBatches, mReads);
            return;
        }
        RoIAlignPlanScratch scratch;
        RoIAlignScratch generic;
        for (std::size_t i = mBatches[part - 1].begin; i < mBatches[part - 1].end; ++i)
        {
            if (!appendBox(mCall, mPlaces[i], scratch, mPrograms[part - 1]))
            {
                roiAlignGeneric(mCall, mPlaces[i], generic);
            }
        }
    }

    //! Returns when all parts are prepared: call it when each one is at least begun.
    void wait() const
    {
        while (mUnprepared.load(std::memory_order_acquire) > 0)
        {
            std::this_thread::yield();
        }
    }

    std::size_t size() const
    {
        return mBatches.size();
    }

    RoIAlignProgram const& program(std::size_t index) const
    {
        return mPrograms[index];
    }

    //! What a batch reads first, on a group of channels.
    RoIAlignAhead ahead(std::size_t index, std::int32_t firstChannel, std::int32_t numChannels) const
    {
        RoIAlignFirstReads const& reads = mReads[index];
        auto const image = static_cast<std::size_t>(mPlaces[mBatches[index].begin].image);
        return {mPlanes[image].data(), reads.stretches.data(), reads.stretches.size(), reads.lines, firstChannel,
            numChannels};
    }

private:
    //! Counts a part that has failed, too: nobody waits for it for ever.
    struct CountDown
    {
        std::atomic<std::size_t>& count;

        ~CountDown()
        {
            count.fetch_sub(1, std::memory_order_release);
        }
    };

    RoIAlignCall const& mCall;
    std::vector<RoIAlignPlace> const& mPlaces;
    std::vector<RoIAlignBatch> mBatches;
    std::vector<RoIAlignFirstReads> mReads;
    std::vector<RoIAlignProgram> mPrograms;
    std::vector<std::vector<RoIAlignPlanes>> mPlanes; //!< of each image
    std::atomic<std::size_t> mUnprepared;
};

//! Neighbouring channels that are run together: a band of so few planes stays in the second-level cache while the boxes
//! on it are worked on.
struct Group
{
    std::int32_t first;
    std::int32_t count;
};

std::int64_t channelBytes(RoIAlignCall const& call)
{
    std::int64_t const side = call.attributes.pooledSide;
    return side * side * elementBytes(call.shape);
}

//! Channels in the first of the groups of `most`: so many that it ends where a cache line of the output does, if there
//! is such a place. Only whole lines go past the caches, and at both ends of a box a store would wait for memory.
std::int32_t firstGroup(RoIAlignCall const& call, std::int32_t most)
{
    auto const output = reinterpret_cast<std::uintptr_t>(call.output);
    for (std::int32_t count = most; count > 0; --count)
    {
        if ((output + static_cast<std::uintptr_t>(count * channelBytes(call))) % kROI_ALIGN_LINE == 0)
        {
            return count;
        }
    }
    return most;
}

std::vector<Group> groupsOf(RoIAlignCall const& call, int threads)
{
    std::int32_t const channels = call.shape.channels;
    std::int32_t const most = std::min(kROI_ALIGN_RUN_CHANNELS, (channels + threads - 1) / threads);
    std::vector<Group> groups;
    std::int32_t first = 0;
    for (std::int32_t count = firstGroup(call, most); first < channels; count = most)
    {
        groups.push_back({first, std::min(count, channels - first)});
        first += count;
    }
    return groups;
}

//! Batches begin..end-1 on a group of channels: what a thread takes at a time.
struct Share
{
    Group group;
    std::size_t begin;
    std::size_t end;
};

//! A group with all batches is one share, because its planes are in the caches then. The last groups, as many as there
//! are threads, are shared batch by batch, so that the threads end together.
std::vector<Share> sharesOf(std::vector<Group> const& groups, std::size_t batches, int threads)
{
    std::vector<Share> shares;
    for (std::size_t i = 0; i < groups.size(); ++i)
    {
        bool const whole = i + static_cast<std::size_t>(threads) < groups.size();
        std::size_t const step = whole ? batches : 1;
        for (std::size_t begin = 0; begin < batches; begin += step)
        {
            shares.push_back({groups[i], begin, begin + step});
        }
    }
    return shares;
}

//! Runs one share; meanwhile the lines of the next one's first batch are fetched.
void runShare(Batches const& batches, Share const& share, Share const& next, RoIAlignRun& run)
{
    run.firstChannel = share.group.first;
    run.numChannels = share.group.count;
    for (std::size_t i = share.begin; i < share.end; ++i)
    {
        RoIAlignProgram const& program = batches.program(i);
        RoIAlignAhead const ahead = i + 1 < share.end ? batches.ahead(i + 1, share.group.first, share.group.count)
                                                      : batches.ahead(next.begin, next.group.first, next.group.count);
        runRoIAlignAvx512(program.blocks.data(), program.boxes, run, ahead);
    }
}

//! Runs shares until all are taken.
void runShares(
    RoIAlignCall const& call, Batches const& batches, std::vector<Share> const& shares, std::atomic<std::size_t>& taken)
{
    std::int32_t const side = call.attributes.pooledSide;
    std::int64_t const bytes
        = std::int64_t{call.shape.images} * call.shape.boxes * call.shape.channels * channelBytes(call);
    std::vector<RoIAlignBlock> staging(blocksOf(static_cast<std::size_t>(kROI_ALIGN_RUN_CHANNELS * side * side)) + 1);
    RoIAlignRun run{static_cast<std::int32_t>(call.shape.type), side, call.shape.channels, 0, 0, call.output,
        reinterpret_cast<float*>(staging.data()), bytes > kSTREAMED_BYTES};
    std::size_t mine = taken++;
    while (mine < shares.size())
    {
        std::size_t const next = taken++; // known in advance, so that it can be fetched
        runShare(batches, shares[mine], next < shares.size() ? shares[next] : Share{{0, 0}, 0, 0}, run);
        mine = next;
    }
}

} // namespace

void runRoIAlignPrograms(RoIAlignCall const& call, std::vector<RoIAlignPlace> const& places, int threads)
{
    Batches batches(call, places);
    std::vector<Share> const shares = sharesOf(groupsOf(call, threads), batches.size(), threads);
    std::atomic<std::size_t> taken{0};
    // First the parts, then once a thread the shares, in one loop: to start threads twice would take a tenth of the
    // time that 100 boxes do. Numbers are given out in order, so a thread that comes to the shares waits for no part
    // that is not begun.
    auto const parts = static_cast<std::int64_t>(batches.parts());
    parallelFor(parts + threads, 1, threads, [&](std::int64_t index, std::int64_t) {
        if (index < parts)
        {
            batches.prepare(static_cast<std::size_t>(index));
            return;
        }
        batches.wait();
        runShares(call, batches, shares, taken);
    });
}

} // namespace maskline
