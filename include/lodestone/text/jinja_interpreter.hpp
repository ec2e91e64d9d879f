// Runs a parsed chat template over values: the part of Jinja, and of Python behind it, that chat templates use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/text/jinja_syntax.hpp>
#include <lodestone/text/jinja_value.hpp>

namespace lodestone::jinja {

/// What bounds and surrounds a rendering.
struct environment {
  std::int64_t steps = 20'000'000;  ///< evaluations, and one for every eight bytes of text made; 8 more a byte of input
  std::function<std::tm()> now{};   ///< what strftime_now() writes; empty: the local time
};

/// Bytes [begin, end) of an output.
struct range {
  std::size_t begin = 0;  ///< first byte
  std::size_t end = 0;    ///< behind the last byte
  friend bool operator==(const range&, const range&) = default;
};

/// What a template wrote.
struct rendering {
  text output{};                   ///< with the marks of data
  std::vector<range> generated{};  ///< what stood in generation blocks
};

/// Runs `what` over the names in `values`. Throws template_error with the place, and template_refusal.
[[nodiscard]] rendering run(const program& what, const std::vector<std::pair<std::string, value>>& values,
                            const environment& around = {});

struct scope;

/// Something that can be called: a macro with the scope of its definition, a method with its object, or a function.
struct function {
  std::string name{};                   ///< of a method or a function
  std::optional<value> object{};        ///< of a method
  std::shared_ptr<const macro> body{};  ///< of a macro or a caller
  std::weak_ptr<scope> where{};         ///< of a macro or a caller
};

/// The state of a loop, as `loop` shows it.
struct loop_state {
  value sequence{};       ///< all items
  std::size_t index = 0;  ///< of the current one
};

namespace detail {

/// The arguments of a call.
struct arguments {
  std::vector<value> places;
  std::vector<std::pair<std::string, value>> names;
};

/// Arguments sorted by the names of parameters; what is not given is null.
class bound {
 public:
  /// Throws evaluation_error for more arguments than parameters and for unknown names.
  bound(const arguments& given, std::string_view callee, std::initializer_list<std::string_view> parameters);
  [[nodiscard]] const value* operator[](std::size_t i) const { return found_[i]; }
  [[nodiscard]] std::int64_t integer(std::size_t i, std::int64_t otherwise) const;
  [[nodiscard]] bool truth(std::size_t i, bool otherwise) const;

 private:
  std::string_view callee_;
  std::vector<const value*> found_;
};

/// How a block of statements ended.
enum class flow : std::uint8_t { normal, broken, continued };

/// One rendering.
class interpreter {
 public:
  interpreter(const program& what, const environment& around) : program_(what), around_(around) {}
  [[nodiscard]] rendering run(const std::vector<std::pair<std::string, value>>& values);

  // --- jinja_interpreter.ipp: statements and expressions
  void charge(std::int64_t steps);
  void charge_bytes(std::size_t bytes) { charge(static_cast<std::int64_t>(bytes / 8 + 1)); }
  [[nodiscard]] value written(text what);
  [[nodiscard]] std::vector<value> iterate(const value& what);
  [[nodiscard]] value attribute(const value& object, std::string_view name);
  [[nodiscard]] value item(const value& object, const value& key);
  [[nodiscard]] value call(const value& callee, const arguments& given);
  [[nodiscard]] value arithmetic(std::string_view name, const value& a, const value& b);
  [[nodiscard]] bool contains(const value& container, const value& what);
  [[nodiscard]] bool is_equal(const value& a, const value& b);
  [[nodiscard]] int order(const value& a, const value& b);

  // --- jinja_filters.ipp: filters and tests
  [[nodiscard]] value filter(const std::string& name, const value& input, const arguments& given);
  [[nodiscard]] bool test(const std::string& name, const value& input, const arguments& given);
  [[nodiscard]] std::int64_t length(const value& what);

  // --- jinja_methods.ipp: methods of strings, lists and dicts, and functions
  [[nodiscard]] static bool has_method(const value& object, std::string_view name);
  [[nodiscard]] value method(const value& object, const std::string& name, const arguments& given);
  [[nodiscard]] value builtin(const std::string& name, const arguments& given);
  [[nodiscard]] text format_percent(const text& form, const value& given);

 private:
  [[nodiscard]] flow execute(const block& statements, const std::shared_ptr<scope>& where);
  [[nodiscard]] flow execute(const statement& one, const std::shared_ptr<scope>& where);
  [[nodiscard]] flow execute_loop(const statement& one, const std::shared_ptr<scope>& where);
  [[nodiscard]] text capture(const block& body, const std::shared_ptr<scope>& where);
  void emit(const text& what);
  void assign(const expression& target, const value& what, scope& where);
  [[nodiscard]] value evaluate(const expression& one, scope& where);
  [[nodiscard]] value evaluate_operation(const expression& one, scope& where);
  [[nodiscard]] value evaluate_call(const expression& one, scope& where, const value* caller);
  [[nodiscard]] value evaluate_filters(const expression& one, const value& input, scope& where);
  [[nodiscard]] arguments evaluate_arguments(const expression& one, scope& where);
  [[nodiscard]] value slice(const value& object, const expression& bounds, scope& where);
  [[nodiscard]] value call_macro(const function& callee, const arguments& given);
  [[nodiscard]] value attribute_of_path(const value& object, const value& path, const value* otherwise = nullptr);
  [[nodiscard]] bool select(const value& one, const arguments& given, std::size_t first);
  [[nodiscard]] value sorted(const value& input, const bound& given);
  [[nodiscard]] value extreme(const value& input, const bound& given, bool is_greatest);
  [[nodiscard]] value mapped(const value& input, const arguments& given);
  [[nodiscard]] value string_method(const text& self, const std::string& name, const arguments& given);
  [[nodiscard]] text format_braces(const text& form, const arguments& given);

  struct deeper {
    explicit deeper(interpreter& owner);
    ~deeper() { --owner.depth_; }
    deeper(const deeper&) = delete;
    deeper& operator=(const deeper&) = delete;
    interpreter& owner;
  };

  const program& program_;
  const environment& around_;
  text* output_ = nullptr;
  int captures_ = 0;
  std::vector<range> generated_;
  std::vector<std::shared_ptr<scope>> kept_;         // scopes that macros refer to
  std::vector<std::shared_ptr<name_space>> spaces_;  // emptied at the end: they may hold each other
  place here_{};
  std::int64_t left_ = 0;
  std::int32_t depth_ = 0;
};

}  // namespace detail

}  // namespace lodestone::jinja

#ifndef LODESTONE_COMPILED
#include <lodestone/text/jinja_filters.ipp>
#include <lodestone/text/jinja_interpreter.ipp>
#include <lodestone/text/jinja_methods.ipp>
#endif
