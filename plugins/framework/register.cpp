// What TensorRT asks a plugin library for: its creators, and where to log.
//
// Nothing registers itself: TensorRT's loadLibrary fails on a plugin that is registered already.
#include "classwise_nms/plugin.h"
#include "framework/base.h"
#include "mask_rle/plugin.h"
#include "proposal_nms/plugin.h"
#include "roi_align/plugin.h"

#include <array>
#include <cstdint>
#include <exception>
#include <string>

#define MASKLINE_PLUGIN_API extern "C" __attribute__((visibility("default")))

//! Called by TensorRT once it has loaded the library.
MASKLINE_PLUGIN_API void setLoggerFinder(nvinfer1::ILoggerFinder* finder)
{
    maskline::setLoggerFinder(finder);
}

//! All creators of the library; they live as long as it is loaded.
//!
//! @param numCreators out; 0 when they could not be made.
MASKLINE_PLUGIN_API nvinfer1::IPluginCreatorInterface* const* getCreators(std::int32_t& numCreators)
{
    numCreators = 0;
    try
    {
        static maskline::PluginCreator<maskline::RoIAlignPlugin> roiAlign;
        static maskline::PluginCreator<maskline::ProposalNMSPlugin> proposalNMS;
        static maskline::PluginCreator<maskline::ClasswiseNMSPlugin> classwiseNMS;
        static maskline::PluginCreator<maskline::MaskRLEPlugin> maskRLE;
        static std::array<nvinfer1::IPluginCreatorInterface*, 4> const creators{
            &roiAlign, &proposalNMS, &classwiseNMS, &maskRLE};
        numCreators = static_cast<std::int32_t>(creators.size());
        return creators.data();
    }
    catch (std::exception const& error)
    {
        maskline::logError(std::string("maskline: getCreators: ") + error.what());
    }
    return nullptr;
}
