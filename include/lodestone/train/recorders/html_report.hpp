// A report as one HTML file that needs nothing else: headings, text, tables, plots; light and dark.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/train/recorders/heat_map.hpp>
#include <lodestone/train/recorders/plot.hpp>

namespace lodestone {

/// Rows of text under a header. Columns whose cells are all numbers are aligned at the right.
struct report_table {
  std::vector<std::string> header = {};  ///< one cell a column
  std::vector<std::vector<std::string>> rows = {};  ///< a short row leaves its last columns empty
  std::string caption = {};  ///< a sentence below, may be empty
  bool beside_plot = false;  ///< stands in the row of the plot that was added before, not below it
};

/// A number to see first.
struct key_number {
  std::string value = {};  ///< e.g. "4.57"
  std::string label = {};  ///< e.g. "held-out loss"
  std::string note = {};   ///< small print, e.g. "from 6.63"; may be empty
};

/// Collects sections in order and writes them as one self-contained page (no script, no font, no image from elsewhere).
/// All text is escaped: what comes in is shown, never interpreted.
class html_report {
 public:
  /// `title` heads the page and names it in the browser; an empty subtitle is left out.
  explicit html_report(std::string title, std::string subtitle = {});

  /// Starts a section; it appears in the table of contents.
  void add_heading(std::string_view text);
  /// A smaller heading within a section.
  void add_subheading(std::string_view text);
  /// A paragraph; an empty line in the text starts the next.
  void add_text(std::string_view text);
  /// Commands or output, in a fixed-width box.
  void add_code(std::string_view text);
  /// A row of cards.
  void add_key_numbers(const std::vector<key_number>& numbers);
  /// Below everything so far, unless `beside_plot`; an empty table shows its header.
  void add_table(const report_table& table);
  /// Plots that follow each other stand side by side where the window is wide enough.
  ///@{
  void add_line_plot(const line_plot& plot) { add_figure(to_html(plot)); }
  void add_bar_plot(const bar_plot& plot) { add_figure(to_html(plot)); }
  void add_histogram(const histogram_plot& plot) { add_figure(to_html(plot)); }
  void add_heat_map(const heat_map& plot) { add_figure(to_html(plot)); }
  ///@}

  /// The whole page.
  [[nodiscard]] std::string page() const;

  /// Writes the page; a reader of `name` sees the old page or the new one, never a part. Throws io_error.
  void write(const std::filesystem::path& name) const;

 private:
  void add_figure(const std::string& figure);
  void close_plots();
  // 1,024  -3.5  2e-05  13.1k  97.5%  1.5x  12s; a dash counts as an absent number.
  [[nodiscard]] static bool is_number(std::string_view text);

  // Colours of lines and bars differ in lightness as well as in hue, for readers who do not see all hues.
  static constexpr std::string_view style = R"css(
:root{--bg:#f6f7f9;--panel:#ffffff;--ink:#1b2430;--soft:#5c6878;--rule:#e3e7ed;--base:#9aa5b4;--code:#eef1f5;--accent:#1f5fd0;
--c0:#1f5fd0;--c1:#e0730a;--c2:#0c8f6c;--c3:#8e44c8;--c4:#c02a5b;--c5:#7b7000}
@media (prefers-color-scheme:dark){:root{--bg:#10151c;--panel:#19202a;--ink:#e6ebf2;--soft:#98a5b6;--rule:#2a3441;--base:#5d6b7d;--code:#121821;--accent:#7fb0ff;
--c0:#6ea6ff;--c1:#ffab4d;--c2:#45cfa2;--c3:#c69af5;--c4:#ff86a8;--c5:#d6c452}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1120px;margin:0 auto;padding:32px 24px 64px}
header{border-bottom:1px solid var(--rule);padding-bottom:14px;margin-bottom:22px}
h1{font-size:27px;line-height:1.25;margin:0;letter-spacing:-.01em}
.sub{color:var(--soft);margin:6px 0 0}
nav{margin-top:12px;font-size:14px}
nav a{color:var(--accent);text-decoration:none;margin-right:18px;white-space:nowrap}
nav a:hover{text-decoration:underline}
h2{font-size:20px;margin:38px 0 12px;letter-spacing:-.005em}
h3{font-size:16px;margin:24px 0 8px}
p{max-width:76ch;margin:8px 0}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:16px 0}
.card,figure,.scroll,pre{background:var(--panel);border:1px solid var(--rule);border-radius:10px}
.card{padding:14px 16px}
.card .value{font-size:25px;font-weight:650;line-height:1.2;font-variant-numeric:tabular-nums;letter-spacing:-.01em}
.card .what{color:var(--soft);font-size:13px;margin-top:3px}
.card .note{color:var(--soft);font-size:12px}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,460px),1fr));gap:14px;margin:14px 0}
figure{margin:0;padding:14px 14px 12px}
figure .title{font-weight:600;margin:0 2px 4px}
figcaption{color:var(--soft);font-size:13px;line-height:1.45;margin:4px 2px 0}
.legend{font-size:13px;color:var(--soft);margin:0 2px 4px;display:flex;flex-wrap:wrap;gap:2px 16px}
.legend i{display:inline-block;margin-right:6px;vertical-align:middle}
.legend .stroke{width:18px;height:3px;border-radius:2px}
.legend .block{width:11px;height:11px;border-radius:2px}
.legend .pale{opacity:.35}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif;fill:var(--soft);font-variant-numeric:tabular-nums}
svg text.label{fill:var(--ink)}
svg text.value{font-size:11px;paint-order:stroke;stroke:var(--panel);stroke-width:3px}
.grid{stroke:var(--rule);stroke-width:1}
.mark,.base{stroke:var(--base);stroke-width:1}
.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.faint{stroke-width:1;opacity:.35}
.dashed{stroke-dasharray:6 4}
.s0{stroke:var(--c0)}.s1{stroke:var(--c1)}.s2{stroke:var(--c2)}.s3{stroke:var(--c3)}.s4{stroke:var(--c4)}.s5{stroke:var(--c5)}
.f0{fill:var(--c0);background:var(--c0)}.f1{fill:var(--c1);background:var(--c1)}.f2{fill:var(--c2);background:var(--c2)}
.f3{fill:var(--c3);background:var(--c3)}.f4{fill:var(--c4);background:var(--c4)}.f5{fill:var(--c5);background:var(--c5)}
.scroll{overflow-x:auto;margin:12px 0}
.plots .scroll{margin:0;align-self:start}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
caption{caption-side:bottom;text-align:left;color:var(--soft);font-size:13px;padding:8px 14px}
th,td{text-align:left;padding:6px 14px;border-bottom:1px solid var(--rule);vertical-align:top;overflow-wrap:anywhere}
th{color:var(--soft);font-weight:600;font-size:13px;white-space:nowrap}
tbody tr:last-child td{border-bottom:0}
.n{text-align:right;white-space:nowrap}
pre{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;background:var(--code);padding:12px 14px;overflow-x:auto}
@media print{body{background:#fff}main{max-width:none;padding:0}figure,.card,tr{break-inside:avoid}}
)css";

  std::string title_;
  std::string subtitle_;
  std::string contents_;
  std::string body_;
  int sections_ = 0;
  bool in_plots_ = false;
};

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/train/recorders/html_report.ipp>
#endif
