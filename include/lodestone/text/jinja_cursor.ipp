// Where a parser of Jinja stands among the tokens, its faults with their place, and the nodes that it makes. A part of
// jinja_parser.ipp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/text/jinja_syntax.hpp>

namespace lodestone::jinja::detail {

/// The tokens of a template, which end with token_kind::end, and the one that is read now.
class token_cursor {
 public:
  token_cursor(std::vector<token> tokens, std::string_view name) : tokens_(std::move(tokens)), name_(name) {}

 protected:
  using kinds = expression_kind;

  // Trees are bounded, so that nothing that walks them needs more stack than it has.
  static constexpr std::int32_t deepest_tree = 150;

  struct deeper {
    explicit deeper(token_cursor& owner) : owner(owner) {
      if (++owner.depth_ > deepest_tree) owner.fail("expressions or blocks nest too deep");
    }
    ~deeper() { --owner.depth_; }
    deeper(const deeper&) = delete;
    deeper& operator=(const deeper&) = delete;
    token_cursor& owner;
  };

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const token& now() const { return tokens_[at_]; }
  [[nodiscard]] const token& after() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  void next() {
    if (at_ + 1 < tokens_.size()) ++at_;
  }
  [[nodiscard]] bool is(token_kind what) const { return now().what == what; }
  [[nodiscard]] bool is_symbol(std::string_view text) const {
    return now().what == token_kind::symbol && now().text == text;
  }
  [[nodiscard]] bool is_name(std::string_view text) const {
    return now().what == token_kind::name && now().text == text;
  }
  bool skip_symbol(std::string_view text) {
    if (!is_symbol(text)) return false;
    next();
    return true;
  }
  bool skip_name(std::string_view text) {
    if (!is_name(text)) return false;
    next();
    return true;
  }

  [[noreturn]] void fail(const std::string& what, std::string_view remedy = "correct the template") const {
    fail_at(now().at, what, remedy);
  }
  [[noreturn]] void fail_at(place at, const std::string& what, std::string_view remedy) const {
    throw template_error(what, describe(name_, at), remedy);
  }
  [[noreturn]] void fail_unsupported(const std::string& what) const {
    fail(what + " is not supported in chat templates", "name a built-in template instead");
  }

  [[nodiscard]] std::string shown() const {
    switch (now().what) {
      case token_kind::end: return "the end of the template";
      case token_kind::block_end: return "%}";
      case token_kind::variable_end: return "}}";
      case token_kind::string: return "a string";
      default: return "'" + now().text + "'";
    }
  }
  void expect_symbol(std::string_view text) {
    if (!skip_symbol(text)) fail("expected '" + std::string(text) + "', found " + shown());
  }
  void expect_name(std::string_view text) {
    if (!skip_name(text)) fail("expected '" + std::string(text) + "', found " + shown());
  }
  void expect(token_kind what, std::string_view text) {
    if (!is(what)) fail("expected " + std::string(text) + ", found " + shown());
    next();
  }
  [[nodiscard]] std::string take_name() {
    if (!is(token_kind::name)) fail("expected a name, found " + shown());
    std::string name = now().text;
    next();
    return name;
  }

  [[nodiscard]] expression_ptr make(kinds what, place at, std::string name = {}) const {
    auto node = std::make_unique<expression>();
    node->what = what;
    node->at = at;
    node->name = std::move(name);
    return node;
  }
  void adopt(expression& parent, expression_ptr child) const {
    if (child) {
      parent.depth = std::max(parent.depth, child->depth + 1);
      if (parent.depth > deepest_tree) fail("the expression is too long");
    }
    parent.parts.push_back(std::move(child));
  }
  [[nodiscard]] expression_ptr make(kinds what, place at, std::string name, expression_ptr left,
                                    expression_ptr right) const {
    expression_ptr node = make(what, at, std::move(name));
    adopt(*node, std::move(left));
    adopt(*node, std::move(right));
    return node;
  }

 private:
  std::vector<token> tokens_;
  std::string name_;
  std::size_t at_ = 0;
  std::int32_t depth_ = 0;
};

}  // namespace lodestone::jinja::detail
