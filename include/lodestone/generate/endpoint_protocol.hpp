// What is said to an OpenAI-compatible endpoint, and what its responses mean: all of it but the transport.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <lodestone/generate/concept.hpp>

namespace lodestone::generate {

/// Where the model is, and how patiently it is asked.
struct endpoint_options {
  std::string url{};    ///< the base: "http://localhost:8000/v1"; /chat/completions and /completions stand below it
  std::string model{};  ///< the model's name there
  /// The environment variable that holds the key. The key itself is read once, sent as "Authorization: Bearer ...", and
  /// stands in no message, log or file. Where the variable is unset or empty, no key is sent.
  std::string key_variable = "OPENAI_API_KEY";
  std::int64_t concurrency = 8;                        ///< requests under way at once
  std::int64_t retries = 5;                            ///< of a request, after its first attempt
  std::chrono::milliseconds connect_timeout{10'000};   ///< until the connection stands
  std::chrono::milliseconds timeout{600'000};          ///< of one attempt, from its start to the last byte
  std::chrono::milliseconds first_delay{500};          ///< before the first retry; each later one waits twice as long
  std::chrono::milliseconds longest_delay{60'000};     ///< what that doubling ends at
  std::chrono::milliseconds longest_retry_after{600'000};  ///< an endpoint that asks for a longer pause has failed
  std::uint64_t seed = 0;                              ///< of the jitter of the delays
  std::size_t response_limit = std::size_t{64} << 20;  ///< bytes of one response
  /// The field that carries max_new_tokens. OpenAI's reasoning models want "max_completion_tokens".
  std::string length_field = "max_tokens";
  std::function<void(std::string_view)> note{};  ///< hears one line about every retry
};

namespace detail {

/// The delay before retry `attempt` (from 0) of request `index`: first_delay * 2^attempt, at most longest_delay, times
/// a factor in [0.5, 1) that depends on (seed, index, attempt) alone.
[[nodiscard]] std::chrono::milliseconds retry_delay(const endpoint_options& options, std::uint64_t index,
                                                    std::int64_t attempt);

/// Why a request cannot be sent; empty when it can.
[[nodiscard]] std::string endpoint_fault(const request& what);

/// The JSON body that asks for an answer.
[[nodiscard]] std::string endpoint_body(const request& what, const endpoint_options& options);

/// A response as it came.
struct endpoint_response {
  long status = 0;                  ///< of HTTP
  std::string_view body{};          ///< complete
  std::string_view content_type{};  ///< the headers' values
  std::string_view location{};      ///< likewise
  bool is_text = false;             ///< of /completions, not /chat/completions
};

/// What an attempt came to.
struct endpoint_outcome {
  /// What is to be done about it.
  enum class kind : std::uint8_t {
    answered,        ///< the reply is there
    again,           ///< another attempt may succeed
    failed,          ///< this request has no answer
    wrong_settings,  ///< no request will have one
    unreachable,     ///< nothing answers at the address; another attempt may succeed
    exhausted        ///< the account is out of credit
  };
  kind what = kind::failed;
  answer reply{};                                    ///< of answered
  std::int64_t answer_tokens = 0;                    ///< likewise
  std::string why{};                                 ///< of all others
  std::string remedy{};                              ///< what to do about it
  std::optional<std::chrono::milliseconds> pause{};  ///< what Retry-After asks for
};

/// Foreign text for a message, in one line of at most 303 bytes. The key, should the text repeat it, is taken out
/// before anything is cut.
[[nodiscard]] std::string endpoint_quote(std::string_view text, std::string_view key);

/// Reads a response; `key` is what must not be repeated, `key_variable` where it comes from.
[[nodiscard]] endpoint_outcome read_endpoint_response(const endpoint_response& response, std::string_view key,
                                                      const std::string& key_variable);

}  // namespace detail

}  // namespace lodestone::generate

#ifndef LODESTONE_COMPILED
#include <lodestone/generate/endpoint_protocol.ipp>
#endif
