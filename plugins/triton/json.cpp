#include "triton/json.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <stdexcept>

namespace maskline::triton
{

namespace
{

constexpr int kMAX_DEPTH = 64;

//! A code point as UTF-8.
void append(std::string& text, std::uint32_t code)
{
    if (code < 0x80)
    {
        text += static_cast<char>(code);
        return;
    }
    int const more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    constexpr std::uint32_t kHEADS[] = {0, 0xC0, 0xE0, 0xF0};
    text += static_cast<char>(kHEADS[more] | code >> (6 * more));
    for (int at = more - 1; at >= 0; --at)
    {
        text += static_cast<char>(0x80 | (code >> (6 * at) & 0x3F));
    }
}

} // namespace

//! One pass over a text.
class JsonReader
{
public:
    explicit JsonReader(std::string_view text)
        : mText(text)
    {}

    Json whole()
    {
        Json value = read(0);
        skipSpace();
        require(mAt == mText.size(), "nothing more");
        return value;
    }

private:
    Json read(int depth)
    {
        require(depth < kMAX_DEPTH, "fewer levels");
        skipSpace();
        Json value;
        switch (peek())
        {
        case '{': readMembers(value, depth); break;
        case '[': readItems(value, depth); break;
        case '"': value.mText = readString(); break;
        default: value.mText = readLiteral();
        }
        return value;
    }

    void readMembers(Json& value, int depth)
    {
        each('}', [&] {
            require(peek() == '"', "a name");
            std::string name = readString();
            skipSpace();
            require(take() == ':', "a colon");
            value.mMembers.emplace_back(std::move(name), read(depth + 1));
        });
    }

    void readItems(Json& value, int depth)
    {
        each(']', [&] { value.mItems.push_back(read(depth + 1)); });
    }

    //! What stands between brackets, with commas.
    template <typename Element>
    void each(char end, Element&& element)
    {
        ++mAt;
        skipSpace();
        if (peek() == end)
        {
            ++mAt;
            return;
        }
        for (char next = ','; next != end;)
        {
            skipSpace();
            element();
            skipSpace();
            next = take();
            require(next == ',' || next == end, "a comma or an end");
        }
    }

    std::string readString()
    {
        std::string text;
        ++mAt;
        for (char next = take(); next != '"'; next = take())
        {
            if (next == '\\')
            {
                readEscape(text);
            }
            else
            {
                text += next;
            }
        }
        return text;
    }

    void readEscape(std::string& text)
    {
        char const next = take();
        switch (next)
        {
        case 'b': text += '\b'; break;
        case 'f': text += '\f'; break;
        case 'n': text += '\n'; break;
        case 'r': text += '\r'; break;
        case 't': text += '\t'; break;
        case 'u': append(text, readCodePoint()); break;
        default: text += next;
        }
    }

    //! After `\u`; two of them make a code point beyond 16 bits.
    std::uint32_t readCodePoint()
    {
        std::uint32_t code = readHex();
        if (code >= 0xD800 && code < 0xDC00)
        {
            require(take() == '\\' && take() == 'u', "the second half of a surrogate pair");
            code = 0x10000 + ((code - 0xD800) << 10) + (readHex() - 0xDC00);
        }
        return code;
    }

    std::uint32_t readHex()
    {
        std::uint32_t code = 0;
        for (int digit = 0; digit < 4; ++digit)
        {
            constexpr std::string_view kDIGITS = "0123456789abcdef";
            std::size_t const value = kDIGITS.find(static_cast<char>(take() | 0x20));
            require(value != std::string_view::npos, "four hexadecimal digits");
            code = code << 4 | static_cast<std::uint32_t>(value);
        }
        return code;
    }

    std::string readLiteral()
    {
        std::size_t const end = mText.find_first_of(",]} \t\r\n", mAt);
        std::string const text(mText.substr(mAt, end - mAt));
        require(!text.empty() && text.find_first_of("\"{[:") == std::string::npos, "a value");
        mAt += text.size();
        return text;
    }

    void skipSpace()
    {
        mAt = std::min(mText.find_first_not_of(" \t\r\n", mAt), mText.size());
    }

    char peek() const
    {
        return mAt < mText.size() ? mText[mAt] : '\0';
    }

    char take()
    {
        require(mAt < mText.size(), "more");
        return mText[mAt++];
    }

    void require(bool holds, char const* expected) const
    {
        if (!holds)
        {
            throw std::runtime_error("JSON: got " + std::string(mText.substr(mAt, 20)) + " at " + std::to_string(mAt)
                + ", expected " + expected);
        }
    }

    std::string_view mText;
    std::size_t mAt = 0;
};

Json Json::parse(std::string_view text)
{
    return JsonReader(text).whole();
}

Json const& Json::operator[](std::string_view key) const
{
    static Json const kNONE;
    for (auto const& [name, value] : mMembers)
    {
        if (name == key)
        {
            return value;
        }
    }
    return kNONE;
}

long long Json::number(std::string const& what, long long otherwise) const
{
    if (mText.empty())
    {
        return otherwise;
    }
    char* end = nullptr;
    errno = 0;
    long long const value = std::strtoll(mText.c_str(), &end, 10);
    if (*end != '\0' || errno != 0)
    {
        throw std::runtime_error(what + ": got '" + mText + "', expected a whole number");
    }
    return value;
}

int Json::count(std::string const& what, int otherwise) const
{
    constexpr long long kMOST = std::numeric_limits<int>::max();
    long long const value = number(what, otherwise);
    if (value < 0 || value > kMOST)
    {
        throw std::runtime_error(
            what + ": got '" + mText + "', expected a whole number from 0 to " + std::to_string(kMOST));
    }
    return static_cast<int>(value);
}

} // namespace maskline::triton
