// Sends a vector from one engine to another through the owners of xfer.hpp, and lets a connection go that has not ended.

#include <iostream>
#include <numeric>
#include <xfer.hpp>

namespace {

/** Polls until a completion of this kind. */
xfer_completion until(xfer::engine &engine, std::uint32_t kind)
{
    xfer_completion completion;
    while (engine.poll(&completion, 1) == 0 || completion.kind != kind) {
    }
    if (completion.status != XFER_OK)
        throw xfer::error(completion.status, completion.text);
    return completion;
}

void run()
{
    xfer::engine receiver({"127.0.0.1:0"}, 1), sender({}, 1);
    const auto secret = xfer::random_secret();
    const auto options = xfer::options(secret, XFER_DIRECTION_OPENER_SENDS);
    auto in = xfer::connection::admit(receiver, options);
    auto out = xfer::connection::connect(sender, options, receiver.address());

    std::vector<std::uint32_t> numbers(1 << 20), arrived(numbers.size());
    std::iota(numbers.begin(), numbers.end(), 0);
    const std::size_t bytes = numbers.size() * sizeof numbers[0];
    out.send(numbers.data(), bytes, 1, "numbers");
    const auto offered = until(receiver, XFER_EVENT_OFFERED);
    const xfer::memory registered(receiver, arrived.data(), bytes);
    auto accept = in.bare(XFER_OP_ACCEPT);
    accept.object = offered.object;
    accept.memory = registered.get();
    accept.len = bytes;
    in.submit(accept);
    until(receiver, XFER_EVENT_RECEIVED);
    if (until(sender, XFER_EVENT_SENT).user != 1 || numbers != arrived)
        throw std::runtime_error("other numbers arrived");
    out.finish();
    until(sender, XFER_EVENT_FINISHED);
    until(receiver, XFER_EVENT_FINISHED);

    // This one is cancelled by its owner's end.
    auto waiting = xfer::connection::admit(receiver, options);
    try {
        xfer::engine taken({receiver.address()});
        throw std::runtime_error("an address was bound twice");
    } catch (const xfer::error &error) {
        if (error.status() != XFER_ERR_FATAL)
            throw;
    }
}

} // namespace

int main()
{
    try {
        run();
    } catch (const std::exception &error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
    std::cout << "ok\n";
}
