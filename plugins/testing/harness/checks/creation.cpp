#include "testing/harness/checks/checks.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

namespace harness
{
namespace
{

using nvinfer1::TensorRTPhase;

std::string checkAnnouncement(Subject& subject)
{
    auto const* const announced = subject.library.creator(subject.opCase.op).getFieldNames();
    require(announced != nullptr, "getFieldNames gave nothing");
    auto const& given = subject.opCase.fields.all();
    require(announced->nbFields == static_cast<std::int32_t>(given.size()),
        "announces " + std::to_string(announced->nbFields) + " fields, expected " + std::to_string(given.size()));
    for (std::int32_t i = 0; i < announced->nbFields; ++i)
    {
        auto const& field = announced->fields[i];
        auto const& expected = given[static_cast<std::size_t>(i)];
        require(field.name == expected.name && field.type == expected.type,
            "announces field " + std::string(field.name) + ", expected " + expected.name + " of its type");
    }
    return std::to_string(given.size()) + " fields";
}

std::string checkCapabilities(Subject& subject)
{
    auto const plugin = subject.make();
    auto& creator = subject.library.creator(subject.opCase.op);
    require(std::strcmp(plugin->getInterfaceInfo().kind, "PLUGIN") == 0, "the plugin is no PLUGIN");
    auto const kind
        = [](nvinfer1::IPluginCapability& capability) { return std::string(capability.getInterfaceInfo().kind); };
    require(kind(core(*plugin)) == "PLUGIN_V3ONE_CORE" && kind(build(*plugin)) == "PLUGIN_V3ONE_BUILD"
            && kind(runtime(*plugin)) == "PLUGIN_V3ONE_RUNTIME",
        "a capability is of another kind than it was asked for");
    auto& one = core(*plugin);
    require(std::string(one.getPluginName()) == creator.getPluginName()
            && std::string(one.getPluginVersion()) == creator.getPluginVersion()
            && std::string(one.getPluginNamespace()) == creator.getPluginNamespace(),
        "name, version and namespace differ from the creator's");
    require(build(*plugin).getNbOutputs() == static_cast<std::int32_t>(subject.opCase.outputs.size()),
        "gives " + std::to_string(build(*plugin).getNbOutputs()) + " outputs");
    return std::string(one.getPluginNamespace()) + "::" + one.getPluginName() + " version " + one.getPluginVersion();
}

std::string checkClone(Subject& subject)
{
    auto plugin = subject.make();
    std::string const text = build(*plugin).getTimingCacheID();
    PluginPtr clone(plugin->clone());
    require(clone != nullptr && clone != plugin, "clone gave nothing of its own");
    plugin.reset();
    require(build(*clone).getTimingCacheID() == text, "the clone has other attributes");
    require(FieldSet::of(*runtime(*clone).getFieldsToSerialize()) == subject.opCase.fields,
        "the clone stores other fields");
    return "outlives its original";
}

//! Each field with its bytes changed a little, where that still is a valid value.
std::string checkTimingCacheId(Subject& subject)
{
    auto const plugin = subject.make();
    std::string const text = build(*plugin).getTimingCacheID();
    require(text == build(*subject.make()).getTimingCacheID(), "two equal plugins have two texts");
    std::size_t changed = 0;
    for (auto field : subject.opCase.fields.all())
    {
        require(text.find(field.name + "=") != std::string::npos, "the text lacks " + field.name + ": " + text);
        if (field.type == nvinfer1::PluginFieldType::kFLOAT32)
        {
            field.bytes[0] = static_cast<char>(field.bytes[0] ^ 1); // the next float
            auto const other = subject.make(FieldSet(subject.opCase.fields).put(field));
            require(text != build(*other).getTimingCacheID(), "the text does not tell two values of " + field.name);
            ++changed;
        }
    }
    return text + " (" + std::to_string(changed) + " floats told from their neighbours)";
}

std::string checkSerialization(Subject& subject)
{
    auto plugin = subject.make();
    FieldSet const stored = FieldSet::of(*runtime(*plugin).getFieldsToSerialize());
    std::string const text = build(*plugin).getTimingCacheID();
    plugin.reset();
    require(stored == subject.opCase.fields, "stores other fields than it was made of");
    auto const restored = subject.make(stored, TensorRTPhase::kRUNTIME);
    require(build(*restored).getTimingCacheID() == text, "comes back with other attributes");
    PluginPtr const context(runtime(*restored).attachToContext(nullptr));
    require(context != nullptr && context != restored, "attachToContext gave nothing of its own");
    return std::to_string(stored.all().size()) + " fields there and back";
}

//! What the ONNX parser may hand over besides int32, float32 and bare chars.
std::string checkOtherTypes(Subject& subject)
{
    using nvinfer1::PluginFieldType;
    std::string const text = build(*subject.make()).getTimingCacheID();
    FieldSet other;
    for (auto const& field : subject.opCase.fields.all())
    {
        Field wide{field.name, field.type, field.bytes, field.length};
        if (field.type == PluginFieldType::kINT32)
        {
            wide.type = PluginFieldType::kINT64;
            wide.bytes.clear();
            for (std::int32_t i = 0; i < field.length; ++i)
            {
                std::int32_t value = 0;
                std::memcpy(&value, field.bytes.data() + static_cast<std::size_t>(i) * 4, 4);
                auto const long64 = static_cast<std::int64_t>(value);
                wide.bytes.append(reinterpret_cast<char const*>(&long64), 8);
            }
        }
        else if (field.type == PluginFieldType::kCHAR)
        {
            wide.bytes += '\0';
            ++wide.length;
        }
        other.put(wide);
    }
    other.text("plugin_namespace", "maskline").text("plugin_version", "1");
    require(build(*subject.make(other)).getTimingCacheID() == text, "gives another plugin");
    return "int64, a closing NUL, plugin_namespace and plugin_version are taken";
}

} // namespace

void checkCreation(Subject& subject, Report& report)
{
    std::string const op = subject.name();
    report.run(op, "announced fields", [&] { return checkAnnouncement(subject); });
    report.run(op, "capabilities", [&] { return checkCapabilities(subject); });
    report.run(op, "other field types", [&] { return checkOtherTypes(subject); });
    report.run(op, "clone", [&] { return checkClone(subject); });
    report.run(op, "timing cache text", [&] { return checkTimingCacheId(subject); });
    report.run(op, "serialization", [&] { return checkSerialization(subject); });
}

} // namespace harness
