/*
 * xfer.h for C++17: owners that close what they own, and errors that are thrown. Header only; xfer.h is the manual.
 *
 * Closing a connection that has not ended cancels it and polls its engine until it has, so a connection is destroyed on the thread that polls; what
 * that takes of the queue's other completions is dropped.
 */

#ifndef XFER_HPP
#define XFER_HPP

#include "xfer.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace xfer {

/** A call that failed: its status, and why. */
class error : public std::runtime_error {
public:
    error(int status, const std::string &why)
        : std::runtime_error(std::string(xfer_strerror(status)) + (why.empty() ? "" : ": " + why)), status_(status)
    {
    }

    int status() const noexcept { return status_; }

private:
    int status_;
};

namespace detail {

inline int check(int status, const void *handle)
{
    if (status >= 0)
        return status;
    char why[512] = "";
    xfer_detail(handle, why, sizeof why);
    throw error(status, why);
}

/** A struct whose size is set and all else 0. */
template <typename T> T sized() noexcept
{
    T value{};
    value.size = sizeof(T);
    return value;
}

} // namespace detail

using secret = std::array<std::uint8_t, XFER_SECRET_BYTES>;

/** A secret that nobody knows yet. */
inline secret random_secret()
{
    secret made{};
    detail::check(xfer_secret(made.data()), nullptr);
    return made;
}

/** An engine. */
class engine {
public:
    /** Listens on these addresses; none: it only connects. */
    explicit engine(const std::vector<std::string> &listen = {}, std::uint32_t workers = 0, std::uint32_t flags = 0)
    {
        std::vector<const char *> addresses;
        for (const auto &address : listen)
            addresses.push_back(address.c_str());
        char why[512] = "";
        auto options = detail::sized<xfer_engine_options>();
        options.workers = workers;
        options.listen = addresses.data();
        options.listen_count = static_cast<std::uint32_t>(addresses.size());
        options.flags = flags;
        options.error = why;
        options.error_size = sizeof why;
        if (int status = xfer_engine_open(&options, &handle_))
            throw error(status, why);
    }

    engine(engine &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    engine &operator=(engine &&other) noexcept
    {
        std::swap(handle_, other.handle_);
        return *this;
    }

    /** What it owns is closed first, by whoever owns that. */
    ~engine()
    {
        if (handle_)
            xfer_engine_close(handle_);
    }

    xfer_engine *get() const noexcept { return handle_; }

    /** An address that it receives on, with its port. */
    std::string address(std::uint32_t index = 0) const
    {
        char text[64] = "";
        detail::check(xfer_engine_address(handle_, index, text, sizeof text), handle_);
        return text;
    }

    /** For event loops. */
    int eventfd() const { return detail::check(xfer_engine_eventfd(handle_), handle_); }

    /** Takes completions into `room`, and returns how many. Without a time it waits for ever. */
    std::size_t poll(xfer_completion *room, std::uint32_t capacity,
                     std::chrono::nanoseconds time = std::chrono::nanoseconds(-1))
    {
        return static_cast<std::size_t>(detail::check(xfer_poll(handle_, room, capacity, time.count()), handle_));
    }

    /** Hands operations over, and returns how many were taken. */
    std::size_t submit(const xfer_operation *operations, std::uint32_t count)
    {
        return static_cast<std::size_t>(detail::check(xfer_submit(handle_, operations, count), handle_));
    }

private:
    xfer_engine *handle_ = nullptr;
};

/** Options of a connection in which all is chosen but the secret and the direction. */
inline xfer_connection_options options(const secret &known, std::uint32_t direction)
{
    auto made = detail::sized<xfer_connection_options>();
    made.secret = known.data();
    made.direction = direction;
    return made;
}

/** A connection. Its engine outlives it. */
class connection {
public:
    static connection admit(engine &on, const xfer_connection_options &options)
    {
        connection made(on);
        detail::check(xfer_admit(on.get(), &options, &made.handle_), on.get());
        return made;
    }

    static connection connect(engine &on, xfer_connection_options options, const std::string &remote)
    {
        connection made(on);
        xfer_path_pair path{nullptr, remote.c_str()};
        if (options.path_count == 0) {
            options.paths = &path;
            options.path_count = 1;
        }
        detail::check(xfer_connect(on.get(), &options, &made.handle_), on.get());
        return made;
    }

    connection(connection &&other) noexcept : engine_(other.engine_), handle_(std::exchange(other.handle_, nullptr)) {}
    connection &operator=(connection &&other) noexcept
    {
        std::swap(engine_, other.engine_);
        std::swap(handle_, other.handle_);
        return *this;
    }

    ~connection()
    {
        if (!handle_ || xfer_connection_close(handle_) != XFER_ERR_BUSY)
            return;
        auto cancel = bare(XFER_OP_CANCEL);
        xfer_submit(engine_->get(), &cancel, 1);
        xfer_completion told;
        while (xfer_connection_close(handle_) == XFER_ERR_BUSY && xfer_poll(engine_->get(), &told, 1, -1) >= 0) {
        }
    }

    xfer_connection *get() const noexcept { return handle_; }

    /** Sends memory, which stays as it is until the completion with `user`. False: the queue is full. */
    bool send(const void *data, std::size_t len, std::uint64_t user = 0, std::string_view name = {})
    {
        auto operation = bare(XFER_OP_SEND, user, name);
        operation.data = const_cast<void *>(data);
        operation.len = len;
        return submit(operation);
    }

    /** Receives an offered object into memory, which is the engine's until the completion with `user`. False: the queue is full. */
    bool accept(std::uint64_t object, void *data, std::size_t len, std::uint64_t user = 0)
    {
        auto operation = bare(XFER_OP_ACCEPT, user);
        operation.object = object;
        operation.data = data;
        operation.len = len;
        return submit(operation);
    }

    /** Refuses an offered object. False: the queue is full. */
    bool refuse(std::uint64_t object, std::string_view why = {}, std::uint64_t user = 0)
    {
        auto operation = bare(XFER_OP_REFUSE, user, why);
        operation.object = object;
        return submit(operation);
    }

    /** Says that nothing follows. */
    void finish() { submit(bare(XFER_OP_FINISH)); }

    /** Ends it early. */
    void cancel(std::string_view why = {}) { submit(bare(XFER_OP_CANCEL, 0, why)); }

    xfer_connection_counters counters() const
    {
        auto counted = detail::sized<xfer_connection_counters>();
        detail::check(xfer_connection_statistics(handle_, &counted), handle_);
        return counted;
    }

    /** An operation on this connection, for what has no function here. */
    xfer_operation bare(std::uint32_t kind, std::uint64_t user = 0, std::string_view name = {}) const
    {
        auto operation = detail::sized<xfer_operation>();
        operation.kind = kind;
        operation.user = user;
        operation.connection = handle_;
        operation.name = name.empty() ? nullptr : name.data();
        operation.name_len = static_cast<std::uint32_t>(name.size());
        return operation;
    }

    bool submit(const xfer_operation &operation)
    {
        int taken = xfer_submit(engine_->get(), &operation, 1);
        if (taken == XFER_ERR_FULL)
            return false;
        detail::check(taken, engine_->get());
        return true;
    }

private:
    explicit connection(engine &on) : engine_(&on) {}

    engine *engine_;
    xfer_connection *handle_ = nullptr;
};

/** Memory that was registered. Its engine outlives it. */
class memory {
public:
    memory(engine &on, void *data, std::size_t len)
    {
        auto options = detail::sized<xfer_memory_options>();
        options.data = data;
        options.len = len;
        detail::check(xfer_memory_register(on.get(), &options, &handle_), on.get());
    }

    memory(memory &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    memory(const memory &) = delete;

    ~memory()
    {
        if (handle_)
            xfer_memory_unregister(handle_);
    }

    xfer_memory *get() const noexcept { return handle_; }

private:
    xfer_memory *handle_ = nullptr;
};

} // namespace xfer

#endif
