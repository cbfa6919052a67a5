// What TensorRT asks a plugin library for: its creators, and where to log.
//
// Nothing registers itself: TensorRT's loadLibrary fails on a plugin that is registered already.
#include "classwise_nms/on_device.h"
#include "framework/log.h"
#include "framework/plugin.h"
#include "mask_rle/on_device.h"
#include "proposal_nms/on_device.h"
#include "roi_align/on_device.h"

#include <array>
#include <cstdint>
#include <exception>
#include <string>
#include <tuple>

namespace maskline
{
namespace
{

//! A creator of each op; they live as long as the library is loaded.
template <typename... Ops>
std::array<nvinfer1::IPluginCreatorInterface*, sizeof...(Ops)> const& creatorsOf()
{
    static std::tuple<PluginCreator<Ops>...> creators;
    static std::array<nvinfer1::IPluginCreatorInterface*, sizeof...(Ops)> const list{
        &std::get<PluginCreator<Ops>>(creators)...};
    return list;
}

} // namespace
} // namespace maskline

#define MASKLINE_PLUGIN_API extern "C" __attribute__((visibility("default")))

//! Called by TensorRT once it has loaded the library.
MASKLINE_PLUGIN_API void setLoggerFinder(nvinfer1::ILoggerFinder* finder)
{
    maskline::setLoggerFinder(finder);
}

//! All creators of the library.
//!
//! @param numCreators out; 0 when they could not be made.
MASKLINE_PLUGIN_API nvinfer1::IPluginCreatorInterface* const* getCreators(std::int32_t& numCreators)
{
    numCreators = 0;
    try
    {
        auto const& creators = maskline::creatorsOf<maskline::RoIAlignOnDevice, maskline::ProposalNMSOnDevice,
            maskline::ClasswiseNMSOnDevice, maskline::MaskRLEOnDevice>();
        numCreators = static_cast<std::int32_t>(creators.size());
        return creators.data();
    }
    catch (std::exception const& error)
    {
        maskline::logError(std::string("maskline: getCreators: ") + error.what());
    }
    return nullptr;
}
