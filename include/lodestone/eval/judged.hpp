// Questions of one or more turns whose answers a judge rates, once or several times: in one shape, chosen at run time.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/eval/concept.hpp>

namespace lodestone::eval {

/// One record of a dialogue: what the judge reads for it, and how often it is asked.
struct judged_part {
  std::string id{};             ///< of the record: unique in its task, the same in every run
  std::vector<label> labels{};  ///< what it is grouped by
  std::size_t turns = 1;        ///< answers that the judge reads: the dialogue's first ones
  std::size_t ratings = 1;      ///< ratings that are asked for, one by one; all are needed
};

/// Which of a task's ratings is meant.
struct rating_place {
  std::size_t dialogue = 0;  ///< in [0, size())
  std::size_t part = 0;      ///< of its parts
  std::size_t number = 0;    ///< of the part's ratings

  friend bool operator==(const rating_place&, const rating_place&) = default;
};

/// Dialogues whose answers another model rates; a judged_task is one of a single turn, part and rating.
///
/// Requires `name()`, `size()`; `id(i)`, unique; `turns(i)`, of the user; `ask(i, answers) -> question`, the turn after
/// these answers; `parts(i) -> std::vector<judged_part>`, the records to make; `judge(place, answers, attempt) ->
/// std::vector<chat_message>`, what the judge is asked (attempts count from 0); `rating(place,
/// reply) -> std::optional<double>`, nothing when the reply has none: the judge is asked again; and `marks(i, part,
/// ratings) -> std::vector<score>`.
/// Laws: all are pure.
template <class T>
concept judged_dialogue = requires(const T& t, std::size_t i, std::span<const std::string> answers, rating_place place,
                                   std::int64_t attempt, std::string_view reply, std::span<const double> ratings) {
  { t.name() } -> std::convertible_to<std::string>;
  { t.size() } -> std::convertible_to<std::size_t>;
  { t.id(i) } -> std::convertible_to<std::string>;
  { t.turns(i) } -> std::convertible_to<std::size_t>;
  { t.ask(i, answers) } -> std::convertible_to<question>;
  { t.parts(i) } -> std::convertible_to<std::vector<judged_part>>;
  { t.judge(place, answers, attempt) } -> std::convertible_to<std::vector<chat_message>>;
  { t.rating(place, reply) } -> std::convertible_to<std::optional<double>>;
  { t.marks(i, i, ratings) } -> std::convertible_to<std::vector<score>>;
};

/// Any judged dialogue or judged task. Owns it; copies share it.
class any_judged {
 public:
  /// Stands for `own`.
  ///@{
  template <class Task>
  requires(!std::same_as<Task, any_judged> && judged_dialogue<Task>) explicit any_judged(Task own)
      : held_(std::make_shared<dialogue<Task>>(std::move(own))) {}
  template <class Task>
  requires(!judged_dialogue<Task> && judged_task<Task>) explicit any_judged(Task own)
      : held_(std::make_shared<single<Task>>(std::move(own))) {}
  ///@}

  /// What the task does.
  ///@{
  [[nodiscard]] std::string name() const { return held_->name(); }
  [[nodiscard]] std::size_t size() const { return held_->size(); }
  [[nodiscard]] std::string id(std::size_t i) const { return held_->id(i); }
  [[nodiscard]] std::size_t turns(std::size_t i) const { return held_->turns(i); }
  [[nodiscard]] question ask(std::size_t i, std::span<const std::string> answers) const {
    return held_->ask(i, answers);
  }
  [[nodiscard]] std::vector<judged_part> parts(std::size_t i) const { return held_->parts(i); }
  [[nodiscard]] std::vector<chat_message> judge(rating_place place, std::span<const std::string> answers,
                                                std::int64_t attempt) const {
    return held_->judge(place, answers, attempt);
  }
  [[nodiscard]] std::optional<double> rating(rating_place place, std::string_view reply) const {
    return held_->rating(place, reply);
  }
  [[nodiscard]] std::vector<score> marks(std::size_t i, std::size_t part, std::span<const double> ratings) const {
    return held_->marks(i, part, ratings);
  }
  ///@}

 private:
  struct base {
    virtual ~base() = default;
    [[nodiscard]] virtual std::string name() const = 0;
    [[nodiscard]] virtual std::size_t size() const = 0;
    [[nodiscard]] virtual std::string id(std::size_t i) const = 0;
    [[nodiscard]] virtual std::size_t turns(std::size_t i) const = 0;
    [[nodiscard]] virtual question ask(std::size_t i, std::span<const std::string> answers) const = 0;
    [[nodiscard]] virtual std::vector<judged_part> parts(std::size_t i) const = 0;
    [[nodiscard]] virtual std::vector<chat_message> judge(rating_place place, std::span<const std::string> answers,
                                                          std::int64_t attempt) const = 0;
    [[nodiscard]] virtual std::optional<double> rating(rating_place place, std::string_view reply) const = 0;
    [[nodiscard]] virtual std::vector<score> marks(std::size_t i, std::size_t part,
                                                   std::span<const double> ratings) const = 0;
  };

  template <class Task>
  struct dialogue final : base {
    explicit dialogue(Task given) : own(std::move(given)) {}
    [[nodiscard]] std::string name() const override { return own.name(); }
    [[nodiscard]] std::size_t size() const override { return own.size(); }
    [[nodiscard]] std::string id(std::size_t i) const override { return own.id(i); }
    [[nodiscard]] std::size_t turns(std::size_t i) const override { return own.turns(i); }
    [[nodiscard]] question ask(std::size_t i, std::span<const std::string> answers) const override {
      return own.ask(i, answers);
    }
    [[nodiscard]] std::vector<judged_part> parts(std::size_t i) const override { return own.parts(i); }
    [[nodiscard]] std::vector<chat_message> judge(rating_place place, std::span<const std::string> answers,
                                                  std::int64_t attempt) const override {
      return own.judge(place, answers, attempt);
    }
    [[nodiscard]] std::optional<double> rating(rating_place place, std::string_view reply) const override {
      return own.rating(place, reply);
    }
    [[nodiscard]] std::vector<score> marks(std::size_t i, std::size_t part,
                                           std::span<const double> ratings) const override {
      return own.marks(i, part, ratings);
    }
    Task own;
  };

  template <class Task>
  struct single final : base {
    explicit single(Task given) : own(std::move(given)) {}
    [[nodiscard]] std::string name() const override { return own.name(); }
    [[nodiscard]] std::size_t size() const override { return own.size(); }
    [[nodiscard]] std::string id(std::size_t i) const override { return own.ask(i).id; }
    [[nodiscard]] std::size_t turns(std::size_t) const override { return 1; }
    [[nodiscard]] question ask(std::size_t i, std::span<const std::string>) const override { return own.ask(i); }
    [[nodiscard]] std::vector<judged_part> parts(std::size_t i) const override {
      question asked = own.ask(i);
      return {{.id = std::move(asked.id), .labels = std::move(asked.labels)}};
    }
    [[nodiscard]] std::vector<chat_message> judge(rating_place place, std::span<const std::string> answers,
                                                  std::int64_t attempt) const override {
      return own.judge(place.dialogue, answers.front(), attempt);
    }
    [[nodiscard]] std::optional<double> rating(rating_place, std::string_view reply) const override {
      return own.rating(reply);
    }
    [[nodiscard]] std::vector<score> marks(std::size_t i, std::size_t, std::span<const double> ratings) const override {
      return own.marks(i, ratings.front());
    }
    Task own;
  };

  std::shared_ptr<const base> held_;
};
static_assert(judged_dialogue<any_judged>);

}  // namespace lodestone::eval
