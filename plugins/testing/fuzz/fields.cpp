// The fields that TensorRT hands to a plugin, and the shapes that it shows: read as they are, or refused by one
// exception.

#include "framework/fields.h"
#include "classwise_nms/node.h"
#include "mask_rle/node.h"
#include "proposal_nms/node.h"
#include "roi_align/node.h"
#include "testing/fuzz/choices.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace
{
using namespace maskline::fuzz;
using nvinfer1::PluginField;
using nvinfer1::PluginFieldCollection;
using nvinfer1::PluginFieldType;

// Fields as a good node has them, some of which have another name, type, length or value.
struct HostileFields
{
    HostileFields(FuzzedDataProvider& choices, PluginFieldCollection const& good)
    {
        for (std::int32_t i = 0; i < good.nbFields; ++i)
        {
            int const lie = choices.ConsumeIntegralInRange(0, 31);
            if (lie == 1)
            {
                continue;
            }
            add(choices, good.fields[i], lie);
            if (lie == 2)
            {
                add(choices, good.fields[i], 0);
            }
        }
        collection.nbFields = static_cast<std::int32_t>(fields.size());
        collection.fields = fields.data();
    }

    void add(FuzzedDataProvider& choices, PluginField field, int lie)
    {
        constexpr char const* kNAMES[] = {"", "unknown", "plugin_version", "strides", "mode"};
        if (lie == 3)
        {
            field.name = choices.PickValueInArray(kNAMES);
        }
        if (lie == 4)
        {
            field.type = static_cast<PluginFieldType>(choices.ConsumeIntegralInRange(-1, 12));
        }
        if (lie == 5)
        {
            field.length = number(choices, 0, 9);
        }
        if (lie == 6)
        {
            field.name = nullptr;
        }
        // As many bytes as type and length say, and not one more; the lengths are bounded, for a caller has them.
        std::size_t const bytes = field.length > 0 && field.length <= 4096
            ? static_cast<std::size_t>(field.length) * bytesOf(field.type)
            : 0;
        bool const is_changed = lie >= 4 || choices.ConsumeIntegralInRange(0, 7) == 1;
        auto values = std::make_unique<std::uint8_t[]>(bytes);
        std::vector<std::uint8_t> const chosen
            = is_changed ? choices.ConsumeBytes<std::uint8_t>(bytes) : std::vector<std::uint8_t>();
        if (is_changed)
        {
            std::copy(chosen.begin(), chosen.end(), values.get());
        }
        else if (bytes > 0)
        {
            std::memcpy(values.get(), field.data, bytes);
        }
        if (field.length > 4096)
        {
            field.length = 0;
        }
        field.data = lie == 7 ? nullptr : values.get();
        kept.push_back(std::move(values));
        fields.push_back(field);
    }

    static std::size_t bytesOf(PluginFieldType type)
    {
        switch (type)
        {
        case PluginFieldType::kFLOAT64:
        case PluginFieldType::kINT64: return 8;
        case PluginFieldType::kFLOAT32:
        case PluginFieldType::kINT32: return 4;
        case PluginFieldType::kFLOAT16:
        case PluginFieldType::kBF16:
        case PluginFieldType::kINT16: return 2;
        case PluginFieldType::kDIMS: return sizeof(nvinfer1::Dims);
        default: return 1;
        }
    }

    std::vector<std::unique_ptr<std::uint8_t[]>> kept;
    std::vector<PluginField> fields;
    PluginFieldCollection collection{};
};

// Shapes as TensorRT may show them: -1 is not known yet.
std::vector<maskline::Shape> shapes(FuzzedDataProvider& choices, maskline::Signature const& signature)
{
    std::vector<maskline::Shape> made;
    for (maskline::Tensor const& tensor : signature.inputs())
    {
        maskline::Shape shape;
        for (maskline::Dim const& dim : tensor.dims)
        {
            bool const lies = choices.ConsumeIntegralInRange(0, 15) == 1;
            shape.push_back(lies       ? choices.ConsumeIntegral<std::int64_t>()
                    : dim.isConstant() ? dim.length()
                                       : choices.ConsumeIntegralInRange<std::int64_t>(-1, 8));
        }
        if (choices.ConsumeIntegralInRange(0, 15) == 1)
        {
            shape.push_back(1);
        }
        made.push_back(std::move(shape));
    }
    return made;
}

template <typename Node>
void run(FuzzedDataProvider& choices)
{
    auto attributes = Node::example();
    maskline::FieldList good;
    Node::visit(good, attributes);
    HostileFields const given(choices, *good.collection());
    try
    {
        maskline::FieldReader reader(Node::kNAME, &given.collection);
        Node::visit(reader, attributes);
        reader.finish();
        if (!attributes.check().empty())
        {
            return;
        }
        // What was read is what would be stored.
        maskline::FieldList stored;
        Node::visit(stored, attributes);
        auto again = Node::example();
        maskline::FieldReader second(Node::kNAME, stored.collection());
        Node::visit(second, again);
        maskline::FieldList twice;
        Node::visit(twice, again);
        require(stored.text() == twice.text(), "attributes that change when they are stored");
        maskline::Signature const signature = Node::signature(attributes);
        auto const inputs = shapes(choices, signature);
        signature.checkShapes(inputs);
        (void)signature.outputShapes(inputs);
        bool is_known = true;
        for (maskline::Shape const& shape : inputs)
        {
            is_known = is_known && std::all_of(shape.begin(), shape.end(), [](std::int64_t side) { return side >= 0; });
        }
        if (is_known)
        {
            (void)Node::checkSizes(attributes, inputs);
        }
    }
    catch (maskline::NodeError const& error)
    {
        require(*error.what() != '\0', "a refusal without a word");
    }
}
} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
    FuzzedDataProvider choices(data, size);
    switch (choices.ConsumeIntegralInRange(0, 3))
    {
    case 0: run<maskline::RoIAlignNode>(choices); break;
    case 1: run<maskline::ProposalNMSNode>(choices); break;
    case 2: run<maskline::ClasswiseNMSNode>(choices); break;
    default: run<maskline::MaskRLENode>(choices);
    }
    return 0;
}
