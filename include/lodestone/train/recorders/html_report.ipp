// Definitions of html_report.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>

#include <lodestone/core/file.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/train/recorders/html_report.hpp>

namespace lodestone {

LODESTONE_INLINE html_report::html_report(std::string title, std::string subtitle)
    : title_(std::move(title)), subtitle_(std::move(subtitle)) {}

LODESTONE_INLINE void html_report::add_heading(std::string_view text) {
  close_plots();
  const std::string id = "s" + std::to_string(++sections_);
  contents_ += "<a href=\"#" + id + "\">" + html_escape(text) + "</a>";
  body_ += "<h2 id=\"" + id + "\">" + html_escape(text) + "</h2>\n";
}

LODESTONE_INLINE void html_report::add_subheading(std::string_view text) {
  close_plots();
  body_ += "<h3>" + html_escape(text) + "</h3>\n";
}

LODESTONE_INLINE void html_report::add_text(std::string_view text) {
  close_plots();
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find("\n\n", begin), text.size());
    if (end > begin) body_ += "<p>" + html_escape(text.substr(begin, end - begin)) + "</p>\n";
    begin = end + 2;
  }
}

LODESTONE_INLINE void html_report::add_code(std::string_view text) {
  close_plots();
  body_ += "<pre>" + html_escape(text) + "</pre>\n";
}

LODESTONE_INLINE void html_report::add_key_numbers(const std::vector<key_number>& numbers) {
  close_plots();
  body_ += "<div class=\"cards\">";
  for (const key_number& n : numbers)
    body_ += "<div class=\"card\"><div class=\"value\">" + html_escape(n.value) + "</div><div class=\"what\">" +
             html_escape(n.label) + "</div>" +
             (n.note.empty() ? "" : "<div class=\"note\">" + html_escape(n.note) + "</div>") + "</div>";
  body_ += "</div>\n";
}

LODESTONE_INLINE void html_report::add_table(const report_table& table) {
  if (!table.beside_plot) close_plots();
  std::vector<bool> numeric(table.header.size(), !table.rows.empty());
  for (const auto& row : table.rows)
    for (std::size_t c = 0; c < numeric.size(); ++c)
      if (c < row.size() && !is_number(row[c])) numeric[c] = false;
  const auto cell = [&](std::string_view tag, std::size_t c, std::string_view text) {
    body_ += "<" + std::string(tag) + (c < numeric.size() && numeric[c] ? " class=\"n\">" : ">") + html_escape(text) +
             "</" + std::string(tag) + ">";
  };
  body_ += "<div class=\"scroll\"><table>";
  if (!table.caption.empty()) body_ += "<caption>" + html_escape(table.caption) + "</caption>";
  body_ += "<thead><tr>";
  for (std::size_t c = 0; c < table.header.size(); ++c) cell("th", c, table.header[c]);
  body_ += "</tr></thead><tbody>\n";
  for (const auto& row : table.rows) {
    body_ += "<tr>";
    for (std::size_t c = 0; c < row.size(); ++c) cell("td", c, row[c]);
    body_ += "</tr>\n";
  }
  body_ += "</tbody></table></div>\n";
}

LODESTONE_INLINE std::string html_report::page() const {
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>" +
      html_escape(title_) + "</title>\n<style>" + std::string(style) + "</style></head>\n<body><main>\n" +
      "<header><h1>" + html_escape(title_) + "</h1>";
  if (!subtitle_.empty()) out += "<p class=\"sub\">" + html_escape(subtitle_) + "</p>";
  if (sections_ > 1) out += "<nav>" + contents_ + "</nav>";
  out += "</header>\n" + body_ + (in_plots_ ? "</div>\n" : "");
  return out + "</main></body></html>\n";
}

LODESTONE_INLINE void html_report::write(const std::filesystem::path& name) const {
  atomic_file file(name);
  file.write(page());
  file.commit();
}

LODESTONE_INLINE void html_report::add_figure(const std::string& figure) {
  if (!in_plots_) body_ += "<div class=\"plots\">\n";
  in_plots_ = true;
  body_ += figure;
}

LODESTONE_INLINE void html_report::close_plots() {
  if (in_plots_) body_ += "</div>\n";
  in_plots_ = false;
}

LODESTONE_INLINE bool html_report::is_number(std::string_view text) {
  if (text.empty() || text == "-" || text == "–" || text == "nan") return true;
  const char last = text.back();
  if (last == '%' || last == 'x' || last == 's' || last == 'k' || last == 'M' || last == 'B') text.remove_suffix(1);
  return !text.empty() && text.find_first_of("0123456789") != std::string_view::npos &&
         text.find_first_not_of("0123456789.,+-eE") == std::string_view::npos;
}

}  // namespace lodestone

