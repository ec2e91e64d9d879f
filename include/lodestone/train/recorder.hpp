// What a recorder is: it hears the events of a training run and writes them somewhere.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <lodestone/loss/outcome.hpp>

namespace lodestone {

/// A key of the resolved configuration and its value, as text.
struct setting {
  std::string key = {};    ///< e.g. "learning_rate"
  std::string value = {};  ///< for people to read
};

/// Sent once, before the first step. Spans are valid during the call only.
struct run_started {
  std::string title = {};                       ///< one line, e.g. "supervised fine-tuning of llama-2-7b"
  std::int64_t steps = 0;                  ///< optimiser steps of the whole run, those before a resume included
  std::int64_t resumed_step = 0;           ///< steps already done; 0 for a new run
  double epochs = 0.0;                     ///< of the whole run
  std::int64_t parameters = 0;             ///< trained scalars
  int ranks = 1;                                ///< processes or threads that share the steps
  std::vector<setting> settings = {};           ///< the resolved configuration, in its order
  std::span<const std::int64_t> lengths = {};   ///< tokens of every training example, of one epoch
  std::span<const std::int64_t> packs = {};     ///< tokens of every micro-batch of the first epoch, in plan order
  std::int64_t pack_capacity = 0;          ///< tokens that a micro-batch may hold; 0: not limited
};

/// Sent after every optimiser step. Numbers are totals over all micro-batches and all ranks of the step.
struct step_record {
  std::int64_t step = 0;          ///< 1 for the first; a resumed run continues the count
  std::int64_t steps = 0;         ///< of the whole run
  double epoch = 0.0;             ///< epochs completed after this step, with its fraction
  double loss = 0.0;              ///< the normalised loss of the step
  double learning_rate = 0.0;     ///< used by this step
  double gradient_norm = 0.0;     ///< global, before clipping
  std::int64_t tokens = 0;        ///< tokens in the streams
  std::int64_t targets = 0;       ///< scored tokens with weight > 0
  std::int64_t sequences = 0;        ///< those with targets
  std::int64_t without_targets = 0;  ///< sequences that contribute nothing
  std::int64_t packs = 0;         ///< micro-batches
  double seconds = 0.0;           ///< wall time of the step
  bool clipped = false;           ///< the gradient was scaled down to the clipping norm
  bool skipped = false;           ///< loss or gradient was not finite: the weights are unchanged
  preference_summary preference{};  ///< of the step's groups, for losses that compare answers

  /// 0 when `seconds` is.
  [[nodiscard]] double tokens_per_second() const { return seconds > 0.0 ? static_cast<double>(tokens) / seconds : 0.0; }
};

/// Mean loss of the scored tokens at positions [begin, end).
struct position_bucket {
  std::int64_t begin = 0;      ///< first position
  std::int64_t end = 0;        ///< one past the last
  double loss = 0.0;           ///< mean of -log p over the targets
  std::int64_t targets = 0;    ///< 0: no target fell here and `loss` means nothing
  friend bool operator==(const position_bucket&, const position_bucket&) = default;
};

/// Sent whenever a held-out set has been scored; step 0 is before training.
struct evaluation_record {
  std::int64_t step = 0;                 ///< steps done
  std::string name = "held-out";         ///< which set
  double loss = 0.0;                     ///< with the training loss's normaliser
  double token_loss = 0.0;               ///< mean over all scored tokens; exp of it is the perplexity
  std::int64_t tokens = 0;               ///< of the whole set
  std::int64_t targets = 0;              ///< scored tokens of the set
  std::int64_t sequences = 0;            ///< of the set, those without targets included
  double seconds = 0.0;                  ///< wall time of the scoring
  bool best = false;                     ///< the lowest `loss` of this run so far
  std::vector<position_bucket> buckets = {};  ///< ascending, disjoint
  preference_summary preference{};            ///< of the set's groups, for losses that compare answers
};

/// How much a message matters.
enum class message_level : std::uint8_t { note, warning, error };

/// The word in a log line.
[[nodiscard]] constexpr std::string_view to_string(message_level level) {
  return level == message_level::note ? "note" : level == message_level::warning ? "warning" : "error";
}

/// A sentence for people: a checkpoint written, examples dropped, a doubled BOS removed.
struct message {
  message_level level = message_level::note;  ///< note: nothing is wrong
  std::string text = {};                      ///< one sentence
  std::int64_t step = 0;                      ///< steps done when it was sent
};

/// Why a run ended.
enum class run_outcome : std::uint8_t {
  completed,    ///< all steps of the plan
  interrupted,  ///< a signal asked for it; a checkpoint was written
  failed,       ///< an exception passes; no more events follow
};

/// The word in a log line.
[[nodiscard]] constexpr std::string_view to_string(run_outcome outcome) {
  return outcome == run_outcome::completed     ? "completed"
         : outcome == run_outcome::interrupted ? "interrupted"
                                               : "failed";
}

/// Sent once, after the last step.
struct run_finished {
  run_outcome outcome = run_outcome::completed;  ///< the loop itself never sends failed
  std::int64_t step = 0;        ///< the last one done
  std::int64_t steps = 0;       ///< planned
  double seconds = 0.0;         ///< of this process, evaluations and checkpoints included
  std::int64_t tokens = 0;      ///< trained by this process
  double loss = 0.0;            ///< of the last step that was trained; 0 when a resumed run had none left
  std::string text = {};             ///< e.g. where the model was written, or what failed
  std::vector<setting> results = {}; ///< further lines for a report
};

/// R hears events of type E.
template <class R, class E>
concept hears = requires(R& r, const E& event) { r.record(event); };

/// Hears at least one kind of event; events that it has no `record` for pass it by.
///
/// Requires: `record(const E&)` for one or more of run_started, step_record, evaluation_record, message, run_finished.
/// Laws: it changes nothing about the run; it leaves nothing half written when the process is killed between events; a
/// resumed run (run_started::resumed_step > 0) continues the record as if it had never been interrupted.
/// Only one rank sends events. Errors of writing are thrown (io_error): a run whose record is lost should stop.
template <class R>
concept recorder = hears<R, run_started> || hears<R, step_record> || hears<R, evaluation_record> || hears<R, message> ||
                   hears<R, run_finished>;

/// Several recorders, known at compile time, as one; `recorders{}` records nothing.
template <class... Parts>
class recorders {
  static_assert((recorder<Parts> && ...), "a recorder needs record(const E&) for at least one event of recorder.hpp");

 public:
  recorders() requires(sizeof...(Parts) > 0 && (std::default_initializable<Parts> && ...)) = default;
  recorders() requires(sizeof...(Parts) == 0) {}
  /// Takes the parts over; they hear events in this order.
  explicit recorders(Parts... parts) requires(sizeof...(Parts) > 0) : parts_(std::move(parts)...) {}

  /// Passes the event to each part that hears it, in order.
  template <class E>
  void record(const E& event) {
    std::apply([&](auto&... part) { (pass(part, event), ...); }, parts_);
  }

  /// Part I, counted from 0.
  template <std::size_t I>
  [[nodiscard]] auto& get() {
    return std::get<I>(parts_);
  }

 private:
  template <class R, class E>
  static void pass(R& part, const E& event) {
    if constexpr (hears<R, E>) part.record(event);
  }

  std::tuple<Parts...> parts_;
};

/// No parts.
recorders() -> recorders<>;

/// A recorder chosen at run time.
class any_recorder {
 public:
  /// Takes the recorder over; it hears what it has a `record` for.
  template <recorder R>
    requires(!std::same_as<R, any_recorder>)
  explicit any_recorder(R part) : held_(std::make_unique<model<R>>(std::move(part))) {}

  /// Passes the event on; nothing when the held recorder does not hear it.
  ///@{
  void record(const run_started& event) { held_->record(event); }
  void record(const step_record& event) { held_->record(event); }
  void record(const evaluation_record& event) { held_->record(event); }
  void record(const message& event) { held_->record(event); }
  void record(const run_finished& event) { held_->record(event); }
  ///@}

 private:
  struct base {
    virtual ~base() = default;
    virtual void record(const run_started& event) = 0;
    virtual void record(const step_record& event) = 0;
    virtual void record(const evaluation_record& event) = 0;
    virtual void record(const message& event) = 0;
    virtual void record(const run_finished& event) = 0;
  };
  template <class R>
  struct model final : base {
    explicit model(R&& held) : part(std::move(held)) {}
    void record(const run_started& event) override { pass(event); }
    void record(const step_record& event) override { pass(event); }
    void record(const evaluation_record& event) override { pass(event); }
    void record(const message& event) override { pass(event); }
    void record(const run_finished& event) override { pass(event); }
    template <class E>
    void pass(const E& event) {
      if constexpr (hears<R, E>) part.record(event);
    }
    R part;
  };
  std::unique_ptr<base> held_;
};

/// Recorders chosen at run time, as one; empty, it records nothing.
class recorder_list {
 public:
  /// Takes a recorder over; it hears events after those that were added before.
  template <recorder R>
  void add(R part) {
    parts_.emplace_back(any_recorder(std::move(part)));
  }
  [[nodiscard]] std::size_t size() const { return parts_.size(); }  ///< recorders added

  /// Passes the event to every recorder, in the order of add().
  template <class E>
  void record(const E& event) {
    for (any_recorder& part : parts_) part.record(event);
  }

 private:
  std::vector<any_recorder> parts_;
};

static_assert(recorder<any_recorder> && recorder<recorder_list> && recorder<recorders<>>);

}  // namespace lodestone
