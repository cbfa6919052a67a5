// maskline_harness: plays TensorRT to the plugins. See README.md of this folder.
#include "testing/harness/checks/checks.h"
#include "testing/harness/create.h"
#include "testing/harness/shim.h"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

namespace
{

using namespace harness;

constexpr char const* kHELP = R"(maskline_harness: plays TensorRT to the plugins.

  maskline_harness [run] [LIBRARY...] [--op OP] [--json]
      Checks the plugins of each library; without one: libmaskline_trt.so and libmaskline_trt_simt.so beside this
      program. Kernels run on a GPU; those of a library named *_simt.so run in the emulator on any machine.
      Ends with the number of failed checks, 100 at most.

  maskline_harness create LIBRARY OP --field NAME:TYPE=VALUES ... [--input TYPE:SHAPE ...] [--nvinfer NVINFER]
      Makes one plugin and shows it inputs; prints its attributes, its outputs and what it logs. Ends with 1 when the
      plugin refuses. Types of fields: int32 int64 float32 float64 char; of inputs: float half bf16 int32 half-hwc8
      bf16-hwc8. With NVINFER the plugin finds no logger but that library's.
      Example: maskline_harness create libmaskline_trt.so MaskRLE --field max_counts:int32=4096

  maskline_harness shim SHIM NVINFER
      Opens the Triton shim in a process that has NVINFER, and prints what it registered.
)";

std::string besideProgram(std::string const& name)
{
    char path[4096];
    ssize_t const length = readlink("/proc/self/exe", path, sizeof(path));
    std::string const program(path, length > 0 ? static_cast<std::size_t>(length) : 0);
    return program.substr(0, program.rfind('/') + 1) + name;
}

bool endsWith(std::string const& text, std::string const& end)
{
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

//! The names, each once, in one text.
std::string joined(std::set<std::string> const& names)
{
    std::string text;
    for (auto const& name : names)
    {
        text += (text.empty() ? "" : ", ") + name;
    }
    return text;
}

//! The library has a creator of each op that there is a case of, and no other. Returns their names.
std::string checkOps(PluginLibrary const& library)
{
    std::set<std::string> found;
    for (auto* const creator : library.creators())
    {
        require(found.insert(creator->getPluginName()).second,
            std::string("has two creators of ") + creator->getPluginName());
    }
    std::set<std::string> wanted;
    for (auto const& opCase : allCases())
    {
        wanted.insert(opCase.op);
    }
    require(found == wanted, "has creators of " + joined(found) + ", expected " + joined(wanted));
    return "creators of " + joined(found);
}

void checkLibrary(std::string const& path, std::string const& onlyOp, Report& report)
{
    report.setLibrary(path.substr(path.rfind('/') + 1));
    std::string reason;
    auto const memory = endsWith(path, "_simt.so") ? makeHostMemory() : makeCudaMemory(reason);
    std::unique_ptr<PluginLibrary> library;
    report.run("", "library opens", [&] {
        library = std::make_unique<PluginLibrary>(path);
        return checkOps(*library);
    });
    if (library == nullptr)
    {
        return;
    }
    for (auto const& opCase : allCases())
    {
        if (!onlyOp.empty() && opCase.op != onlyOp)
        {
            continue;
        }
        Subject subject{*library, opCase};
        checkCreation(subject, report);
        checkShapes(subject, report);
        checkFormats(subject, report);
        checkBadFields(subject, report);
        checkBadShapes(subject, report);
        checkEnqueue(subject, memory.get(), reason, report);
    }
}

//! The value after an option.
std::string valueOf(std::vector<std::string> const& arguments, std::size_t& i)
{
    if (i + 1 >= arguments.size())
    {
        throw std::invalid_argument(arguments[i] + ": expected a value after it");
    }
    return arguments[++i];
}

int run(std::vector<std::string> const& arguments)
{
    std::vector<std::string> libraries;
    std::string op;
    bool json = false;
    for (std::size_t i = 0; i < arguments.size(); ++i)
    {
        if (arguments[i] == "--json")
        {
            json = true;
        }
        else if (arguments[i] == "--op")
        {
            op = valueOf(arguments, i);
        }
        else if (arguments[i].rfind("--", 0) == 0)
        {
            throw std::invalid_argument("unknown option " + arguments[i] + "; see maskline_harness --help");
        }
        else
        {
            libraries.push_back(arguments[i]);
        }
    }
    if (libraries.empty())
    {
        libraries = {besideProgram("libmaskline_trt.so"), besideProgram("libmaskline_trt_simt.so")};
    }
    Report report;
    for (auto const& library : libraries)
    {
        checkLibrary(library, op, report);
    }
    std::fputs((json ? report.json() : report.table()).c_str(), stdout);
    return std::min(report.failures(), 100);
}

int createFrom(std::vector<std::string> const& arguments)
{
    CreateRequest request;
    std::vector<std::string> positional;
    for (std::size_t i = 0; i < arguments.size(); ++i)
    {
        if (arguments[i] == "--field")
        {
            request.fields.parse(valueOf(arguments, i));
        }
        else if (arguments[i] == "--nvinfer")
        {
            request.nvinfer = valueOf(arguments, i);
        }
        else if (arguments[i] == "--input")
        {
            request.inputs.push_back(valueOf(arguments, i));
        }
        else
        {
            positional.push_back(arguments[i]);
        }
    }
    if (positional.size() != 2)
    {
        throw std::invalid_argument("create: expected LIBRARY and OP; see maskline_harness --help");
    }
    request.library = positional[0];
    request.op = positional[1];
    return create(std::move(request));
}

int shimFrom(std::vector<std::string> const& arguments)
{
    if (arguments.size() != 2)
    {
        throw std::invalid_argument("shim: expected SHIM and NVINFER; see maskline_harness --help");
    }
    return openShim(arguments[0], arguments[1]);
}

} // namespace

int main(int argc, char** argv)
{
    std::vector<std::string> arguments(argv + 1, argv + argc);
    try
    {
        if (!arguments.empty() && arguments[0] == "--help")
        {
            std::fputs(kHELP, stdout);
            return 0;
        }
        std::string command = "run";
        if (!arguments.empty() && (arguments[0] == "run" || arguments[0] == "create" || arguments[0] == "shim"))
        {
            command = arguments[0];
            arguments.erase(arguments.begin());
        }
        if (command == "create")
        {
            return createFrom(arguments);
        }
        if (command == "shim")
        {
            return shimFrom(arguments);
        }
        return run(arguments);
    }
    catch (std::exception const& error)
    {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 2;
    }
}
