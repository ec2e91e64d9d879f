// The syntax tree of a chat template.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <lodestone/text/jinja_lexer.hpp>
#include <lodestone/text/jinja_value.hpp>

namespace lodestone::jinja {

struct expression;
struct macro;
struct statement;

/// Owners of nodes; a null expression is one that the source leaves out.
///@{
using expression_ptr = std::unique_ptr<expression>;
using block = std::vector<statement>;
///@}

/// What an expression is; beside each, what `name` and `parts` hold.
enum class expression_kind : std::uint8_t {
  constant,     ///< its `constant`
  name,         ///< name
  list,         ///< items
  tuple,        ///< items
  dict,         ///< key, value, key, value, ...
  attribute,    ///< name: the attribute; [object]
  item,         ///< [object, key]
  slice,        ///< [begin, end, step], each may be null; only as the key of an item
  call,         ///< [callee], with arguments
  filter,       ///< name; [input], null in a filter block; with arguments
  test,         ///< name; [input], with arguments
  negation,     ///< name: + or -; [operand]
  logical_not,  ///< [operand]
  logical_and,  ///< [left, right]
  logical_or,   ///< [left, right]
  arithmetic,   ///< name: + - * / // % **; [left, right]
  concat,       ///< ~: operands
  compare,      ///< `operators`; operands, one more than operators
  conditional   ///< [condition, then, otherwise], the last may be null
};

/// One argument of a call.
struct argument {
  std::string name{};     ///< empty: by its place
  int stars = 0;          ///< 1: *list, 2: **dict
  expression_ptr what{};  ///< its value
};

/// An expression.
struct expression {
  expression_kind what = expression_kind::constant;  ///< its kind
  place at{};                                        ///< where it begins
  std::string name{};                                ///< see expression_kind
  value constant{};                                  ///< of a constant
  std::vector<expression_ptr> parts{};               ///< see expression_kind
  std::vector<argument> arguments{};                 ///< of a call, filter or test
  std::vector<std::string> operators{};              ///< of a comparison: == != < <= > >= in not-in
  std::int32_t depth = 1;                            ///< of the tree
};

/// What a statement is.
enum class statement_kind : std::uint8_t {
  text,          ///< `text`
  print,         ///< `what`
  assign,        ///< target = what
  assign_block,  ///< target = the body's text, through the filters `what` (null: none)
  loop,          ///< for target in what if test: body, else: otherwise
  branch,        ///< the branches in turn, else: otherwise
  with,          ///< bindings, body
  macro,         ///< `callee`
  call_block,    ///< the call `what` with `callee` as its caller
  filter_block,  ///< the body's text through the filters `what`
  generation,    ///< body: written by the model
  break_loop,
  continue_loop
};

/// A statement.
struct statement {
  statement_kind kind = statement_kind::text;                         ///< what it is
  place at{};                                                         ///< where it begins
  std::string text{};                                                 ///< of a text
  expression_ptr target{};                                            ///< names, a tuple of them, or namespace.name
  expression_ptr what{};                                              ///< see statement_kind
  expression_ptr test{};                                              ///< of a loop
  block body{};                                                       ///< see statement_kind
  block otherwise{};                                                  ///< see statement_kind
  std::vector<std::pair<expression_ptr, block>> branches{};           ///< condition and body
  std::vector<std::pair<expression_ptr, expression_ptr>> bindings{};  ///< target and value
  std::shared_ptr<const macro> callee{};                              ///< of a macro or a call block
};

/// A macro, or the body of a call block.
struct macro {
  std::string name{};                      ///< empty for a call block
  std::vector<std::string> parameters{};   ///< in order
  std::vector<expression_ptr> defaults{};  ///< of the last parameters
  block body{};                            ///< what it writes
  bool uses_varargs = false;               ///< the body names varargs
  bool uses_kwargs = false;                ///< the body names kwargs
};

/// A parsed template.
struct program {
  std::string name{};           ///< as errors call it
  block body{};                 ///< its statements
  bool has_generation = false;  ///< whether a generation block stands in it
};

/// Parses a template. Throws template_error with the place of what is wrong or not supported.
[[nodiscard]] program parse(std::string_view source, std::string_view name);

}  // namespace lodestone::jinja

#ifndef LODESTONE_COMPILED
#include <lodestone/text/jinja_parser.ipp>
#endif
