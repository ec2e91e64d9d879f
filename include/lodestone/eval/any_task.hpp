// Any task, chosen at run time.
#pragma once

#include <concepts>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/eval/concept.hpp>

namespace lodestone::eval {

/// The id of question i: `t.id(i)` where a task has it, as one whose prompts are costly to make should; else that of
/// ask(i).
template <task Task>
[[nodiscard]] std::string question_id(const Task& t, std::size_t i) {
  if constexpr (requires {
                  { t.id(i) } -> std::convertible_to<std::string>;
                })
    return t.id(i);
  else
    return t.ask(i).id;
}

/// Owns a task; copies share it.
class any_task {
 public:
  /// Stands for `own`.
  template <class Task>
  requires(!std::same_as<Task, any_task> && task<Task>) explicit any_task(Task own)
      : held_(std::make_shared<model<Task>>(std::move(own))) {}

  /// What the task does.
  ///@{
  [[nodiscard]] std::string name() const { return held_->name(); }
  [[nodiscard]] std::size_t size() const { return held_->size(); }
  [[nodiscard]] std::string id(std::size_t i) const { return held_->id(i); }
  [[nodiscard]] question ask(std::size_t i) const { return held_->ask(i); }
  [[nodiscard]] std::vector<score> mark(std::size_t i, std::string_view answer) const { return held_->mark(i, answer); }
  ///@}

 private:
  struct base {
    virtual ~base() = default;
    [[nodiscard]] virtual std::string name() const = 0;
    [[nodiscard]] virtual std::size_t size() const = 0;
    [[nodiscard]] virtual std::string id(std::size_t i) const = 0;
    [[nodiscard]] virtual question ask(std::size_t i) const = 0;
    [[nodiscard]] virtual std::vector<score> mark(std::size_t i, std::string_view answer) const = 0;
  };
  template <class Task>
  struct model final : base {
    explicit model(Task given) : own(std::move(given)) {}
    [[nodiscard]] std::string name() const override { return own.name(); }
    [[nodiscard]] std::size_t size() const override { return own.size(); }
    [[nodiscard]] std::string id(std::size_t i) const override { return question_id(own, i); }
    [[nodiscard]] question ask(std::size_t i) const override { return own.ask(i); }
    [[nodiscard]] std::vector<score> mark(std::size_t i, std::string_view answer) const override {
      return own.mark(i, answer);
    }
    Task own;
  };

  std::shared_ptr<const base> held_;
};
static_assert(task<any_task>);

}  // namespace lodestone::eval
