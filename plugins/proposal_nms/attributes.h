// What decides a ProposalNMS besides the numbers in its inputs: attributes, and the sizes of one call.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace maskline
{

//! Attributes of ProposalNMS; see README.md.
struct ProposalNMSAttributes
{
    static constexpr std::int32_t kMAX_LEVELS{8};    //!< what a kernel's parameters have room for
    static constexpr std::int32_t kMAX_CORNERS{128}; //!< likewise, L * A

    std::vector<std::int32_t> strides; //!< px, one a level
    std::vector<float> anchorSizes;    //!< px, dealt out over the levels, finest first, the same number each
    std::vector<float> aspectRatios;   //!< height / width
    bool anchorRounded{false};         //!< corner offsets rounded to whole px, half to even
    float anchorCentreOffset{0.F};     //!< in strides
    std::int32_t preNmsPerLevel{1000}; //!< T
    std::int32_t maxProposals{1000};   //!< R
    float nmsThresh{0.7F};             //!< a box whose IoU with a better kept one is larger is dropped
    float minSide{0.F};                //!< px, after the clip

    //! L.
    std::int32_t levels() const
    {
        return static_cast<std::int32_t>(strides.size());
    }

    //! A: every size of a level with every ratio, by size, then by ratio.
    std::int32_t anchors() const
    {
        return static_cast<std::int32_t>(anchorSizes.size() / strides.size() * aspectRatios.size());
    }

    //! @return "" or the rule that is broken, with what was got and what is expected.
    std::string check() const
    {
        if (strides.empty() || strides.size() > kMAX_LEVELS)
        {
            return "strides: got " + std::to_string(strides.size()) + " levels, expected 1.."
                + std::to_string(kMAX_LEVELS);
        }
        if (anchorSizes.empty() || anchorSizes.size() % strides.size() != 0)
        {
            return "anchor_sizes: got " + std::to_string(anchorSizes.size())
                + " values, expected the same number on each of " + std::to_string(strides.size()) + " levels";
        }
        if (aspectRatios.empty() || anchorSizes.size() * aspectRatios.size() > kMAX_CORNERS)
        {
            return "aspect_ratios: got " + std::to_string(aspectRatios.size()) + " values and "
                + std::to_string(anchorSizes.size()) + " anchor_sizes, expected at least one and a product of at most "
                + std::to_string(kMAX_CORNERS);
        }
        std::string text = checkValues();
        if (text.empty() && !std::isfinite(anchorCentreOffset))
        {
            text = "anchor_centre_offset: got " + std::to_string(anchorCentreOffset) + ", expected a finite number";
        }
        if (text.empty() && preNmsPerLevel < 1)
        {
            text = "pre_nms_per_level: got " + std::to_string(preNmsPerLevel) + ", expected at least 1";
        }
        if (text.empty() && maxProposals < 1)
        {
            text = "max_proposals: got " + std::to_string(maxProposals) + ", expected at least 1";
        }
        if (text.empty() && !(nmsThresh >= 0.F && nmsThresh <= 1.F))
        {
            text = "nms_thresh: got " + std::to_string(nmsThresh) + ", expected 0..1";
        }
        if (text.empty() && !(minSide >= 0.F && std::isfinite(minSide)))
        {
            text = "min_side: got " + std::to_string(minSide) + ", expected a finite number, 0 or more";
        }
        return text;
    }

private:
    std::string checkValues() const
    {
        for (auto const stride : strides)
        {
            if (stride < 1)
            {
                return "strides: got " + std::to_string(stride) + ", expected at least 1";
            }
        }
        for (auto const size : anchorSizes)
        {
            if (!(size > 0.F && std::isfinite(size)))
            {
                return "anchor_sizes: got " + std::to_string(size) + ", expected finite numbers above 0";
            }
        }
        for (auto const ratio : aspectRatios)
        {
            if (!(ratio > 0.F && std::isfinite(ratio)))
            {
                return "aspect_ratios: got " + std::to_string(ratio) + ", expected finite numbers above 0";
            }
        }
        return "";
    }
};

//! Sizes of one call: `levels` maps of heights[i] x widths[i] cells for each of `batch` images.
struct ProposalNMSShape
{
    std::int32_t batch{0};                                                  //!< B
    std::int32_t levels{0};                                                 //!< L
    std::array<std::int32_t, ProposalNMSAttributes::kMAX_LEVELS> heights{}; //!< Hi
    std::array<std::int32_t, ProposalNMSAttributes::kMAX_LEVELS> widths{};  //!< Wi

    //! @return "" or the rule that is broken, with what was got and what is expected. B may be 0, so may Hi and Wi.
    std::string check(ProposalNMSAttributes const& attributes) const
    {
        if (batch < 0 || static_cast<std::int64_t>(batch) * attributes.levels() > 65535)
        {
            return "image_info: got " + std::to_string(batch) + " images, expected 0.."
                + std::to_string(65535 / attributes.levels());
        }
        if (levels != attributes.levels())
        {
            return "logits: got " + std::to_string(levels) + " levels, expected one a stride ("
                + std::to_string(attributes.levels()) + ")";
        }
        std::int64_t all = 0;
        for (std::int32_t level = 0; level < levels; ++level)
        {
            std::int64_t const height = heights[static_cast<std::size_t>(level)];
            std::int64_t const width = widths[static_cast<std::size_t>(level)];
            all += height * width * attributes.anchors();
            if (height < 0 || width < 0 || all > INT32_MAX / 4)
            {
                return "logits_" + std::to_string(level) + ": got " + std::to_string(height) + " x "
                    + std::to_string(width) + " cells, expected 0 or more and at most 536870911 anchors an image";
            }
        }
        return "";
    }
};

} // namespace maskline
