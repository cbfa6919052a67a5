// The backend's reading of a config: any text is read, or refused by one exception.

#include "testing/fuzz/choices.h"
#include "triton/config.h"
#include "triton/json.h"

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
    FuzzedDataProvider choices(data, size);
    std::string text;
    if (choices.ConsumeBool())
    {
        text = choices.ConsumeRemainingBytesAsString();
    }
    else // a config, some of whose values are others
    {
        auto const other = [&](char const* good) {
            return choices.ConsumeIntegralInRange(0, 7) == 1 ? choices.ConsumeRandomLengthString(24)
                                                             : std::string(good);
        };
        text = "{\"max_batch_size\":" + other("8") + ",\"default_model_filename\":" + other("\"\"")
            + ",\"input\":[{\"name\":" + other("\"canvas\"") + ",\"data_type\":" + other("\"TYPE_UINT8\"")
            + ",\"dims\":[" + other("\"-1\",3") + "]}],\"output\":[" + other("")
            + "],\"parameters\":{\"intra_op_thread_count\":{\"string_value\":" + other("\"1\"")
            + "},\"enable_mem_arena\":{\"string_value\":" + other("\"0\"") + "}}}";
    }
    try
    {
        auto const config = maskline::triton::readConfig(maskline::triton::Json::parse(text));
        maskline::fuzz::require(!config.file.empty(), "a model without a file");
        maskline::fuzz::require(
            config.intraOpThreads >= 0 && config.interOpThreads >= 0, "a negative number of threads");
    }
    catch (std::runtime_error const& error)
    {
        maskline::fuzz::require(*error.what() != '\0', "a refusal without a word");
    }
    return 0;
}
