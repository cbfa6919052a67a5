#include "testing/harness/report.h"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <utility>

namespace harness
{

void require(bool condition, std::string const& text)
{
    if (!condition)
    {
        throw Failure(text);
    }
}

void Report::setLibrary(std::string name)
{
    mLibrary = std::move(name);
}

void Report::run(std::string const& op, std::string const& check, std::function<std::string()> const& body)
{
    Row row{mLibrary, op, check, "passed", ""};
    try
    {
        row.detail = body();
    }
    catch (std::exception const& error)
    {
        row.status = "failed";
        row.detail = error.what();
    }
    mRows.push_back(std::move(row));
}

void Report::notRun(std::string const& op, std::string const& check, std::string const& reason)
{
    mRows.push_back({mLibrary, op, check, "not run", reason});
}

int Report::failures() const noexcept
{
    return static_cast<int>(
        std::count_if(mRows.begin(), mRows.end(), [](Row const& row) { return row.status == "failed"; }));
}

std::string quoted(std::string const& text)
{
    std::string result = "\"";
    for (char const letter : text)
    {
        if (letter == '"' || letter == '\\')
        {
            result += '\\';
        }
        if (static_cast<unsigned char>(letter) < 0x20)
        {
            char escaped[8];
            std::snprintf(escaped, sizeof(escaped), "\\u%04x", static_cast<unsigned>(letter));
            result += escaped;
            continue;
        }
        result += letter;
    }
    return result + "\"";
}

std::string Report::json() const
{
    std::string text = "{\"failures\": " + std::to_string(failures()) + ", \"rows\": [";
    for (std::size_t i = 0; i < mRows.size(); ++i)
    {
        Row const& row = mRows[i];
        text += std::string(i == 0 ? "" : ",") + "\n{\"library\": " + quoted(row.library)
            + ", \"op\": " + quoted(row.op) + ", \"check\": " + quoted(row.check)
            + ", \"status\": " + quoted(row.status) + ", \"detail\": " + quoted(row.detail) + "}";
    }
    return text + "\n]}\n";
}

std::string Report::table() const
{
    std::string text;
    std::string library;
    for (auto const& row : mRows)
    {
        if (row.library != library)
        {
            library = row.library;
            text += "\n" + library + "\n";
        }
        char line[160];
        std::snprintf(line, sizeof(line), "  %-8s %-36s %-24s ", row.status.c_str(), row.op.c_str(), row.check.c_str());
        text += line + row.detail + "\n";
    }
    auto const count = [this](char const* status) {
        return std::to_string(
            std::count_if(mRows.begin(), mRows.end(), [status](Row const& row) { return row.status == status; }));
    };
    return text + "\n" + count("passed") + " passed, " + count("failed") + " failed, " + count("not run")
        + " not run\n";
}

} // namespace harness
