// What was checked, and how it went.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace harness
{

//! A check that did not hold.
class Failure : public std::runtime_error
{
    using std::runtime_error::runtime_error;
};

//! @throws Failure with the text when the condition does not hold.
void require(bool condition, std::string const& text);

struct Row
{
    std::string library;
    std::string op; //!< and which case of it
    std::string check;
    std::string status; //!< passed, failed or not run
    std::string detail; //!< what was seen, what went wrong, or why it was not run
};

class Report
{
public:
    //! Runs one check. `body` returns a few words on what was seen, and throws when something is wrong.
    void run(std::string const& op, std::string const& check, std::function<std::string()> const& body);

    //! Notes a check that could not be run.
    void notRun(std::string const& op, std::string const& check, std::string const& reason);

    //! The library of the checks that follow.
    void setLibrary(std::string name);

    std::vector<Row> const& rows() const noexcept
    {
        return mRows;
    }

    int failures() const noexcept;

    //! {"failures": 0, "rows": [{"library": ..., "op": ..., "check": ..., "status": ..., "detail": ...}]}
    std::string json() const;

    //! The same to be read.
    std::string table() const;

private:
    std::string mLibrary;
    std::vector<Row> mRows;
};

//! A text as JSON writes it, with its quotes.
std::string quoted(std::string const& text);

} // namespace harness
