// What the harness checks, in the order in which TensorRT would come to it.
#pragma once

#include "testing/harness/cases/op_case.h"
#include "testing/harness/played/memory.h"
#include "testing/harness/played/plugin_library.h"
#include "testing/harness/report.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace harness
{

//! One case on one library.
struct Subject
{
    PluginLibrary& library;
    OpCase opCase;

    //! "MaskRLE, discs and noise".
    std::string name() const
    {
        return opCase.op + ", " + opCase.title;
    }

    //! A plugin made in the build phase.
    //!
    //! @throws Failure with what the plugin logged when it could not be made.
    PluginPtr make(FieldSet fields, nvinfer1::TensorRTPhase phase = nvinfer1::TensorRTPhase::kBUILD);

    PluginPtr make()
    {
        return make(opCase.fields);
    }

    //! What createPlugin logs when it refuses the fields.
    //!
    //! @throws Failure when it accepts them, or logs another number of lines than one.
    std::string refusal(FieldSet fields);

    //! @throws Failure when the status is success, or the plugin logged another number of lines than one.
    std::string refusal(std::int32_t status);

    //! Takes the errors that were logged and puts them into one text.
    std::string logged();
};

//! What TensorRT tells a plugin while it builds: the shapes of the profile.
std::vector<nvinfer1::DynamicPluginTensorDesc> profile(OpCase const& opCase, Variant variant);

//! The bytes of workspace that the plugin wants for the profile.
std::size_t workspaceBytes(nvinfer1::IPluginV3& plugin, OpCase const& opCase, Variant variant);

void checkCreation(Subject& subject, Report& report);
void checkShapes(Subject& subject, Report& report);
void checkFormats(Subject& subject, Report& report);
void checkBadFields(Subject& subject, Report& report);
void checkBadShapes(Subject& subject, Report& report);

//! Runs enqueue.
//!
//! @param memory where; nullptr: nowhere, and `reason` says why.
void checkEnqueue(Subject& subject, Memory* memory, std::string const& reason, Report& report);

} // namespace harness
