// Reads the JSON that Triton writes of a config.pbtxt.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace maskline::triton
{

//! A value; what is not there reads as an empty one, since Triton leaves fields out that have their default.
class Json
{
public:
    //! @throws std::runtime_error: not JSON; with the place.
    static Json parse(std::string_view text);

    //! The member of an object, or an empty value.
    Json const& operator[](std::string_view key) const;

    //! A string's characters, a number or literal as written; empty for all else.
    std::string const& text() const
    {
        return mText;
    }

    //! A whole number, also where protobuf writes it as a string; `otherwise` where there is none.
    //!
    //! @throws std::runtime_error: no whole number; `what` names it.
    long long number(std::string const& what, long long otherwise) const;

    //! The same of what is counted, e.g. threads: from 0 to the largest int.
    //!
    //! @throws std::runtime_error: no such number; `what` names it.
    int count(std::string const& what, int otherwise) const;

    //! Of an array.
    std::vector<Json> const& items() const
    {
        return mItems;
    }

    //! Of an object.
    std::vector<std::pair<std::string, Json>> const& members() const
    {
        return mMembers;
    }

private:
    friend class JsonReader;
    std::string mText;
    std::vector<Json> mItems;
    std::vector<std::pair<std::string, Json>> mMembers;
};

} // namespace maskline::triton
