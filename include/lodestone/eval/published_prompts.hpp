// Prompts of published benchmarks, with their categories and lengths: scores compare only where these are the same.
//
// LongBench: github.com/THUDM/LongBench, commit 2e00731, config/dataset2prompt.json and dataset2maxlen.json (their
// spelling), categories as in its paper. Copyright (c) 2023 THU-KEG & Zhipu AI
// LV-Eval: github.com/infinigence/LVEval, commit 63e7ae9, config.py and metrics.py. Copyright (c) 2024 Infinigence AI
// InfiniteBench: github.com/OpenBMB/InfiniteBench, commit 88b3daa, src/prompt.py and eval_utils.py.
// Copyright (c) 2023 OpenBMB
// Lost in the Middle: github.com/nelson-liu/lost-in-the-middle, commit 29b8a6d, prompts/kv_retrieval.prompt.
// Copyright (c) 2023 Nelson Liu
//
// The strings below are theirs, under the MIT License:
//
// Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
// documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
// rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to
// permit persons to whom the Software is furnished to do so, subject to the following conditions:
//
// The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
// Software.
//
// THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
// WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS
// OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
// OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace lodestone::eval {

/// What a benchmark compares an answer by.
enum class answer_metric : std::uint8_t {
  f1,                  ///< answer_f1()
  chinese_f1,          ///< chinese_answer_f1()
  keyword_f1,          ///< answer_f1() of answers that have enough of the keywords
  chinese_keyword_f1,  ///< the same for Chinese
  rouge_l,             ///< rouge_l_of_sets()
  chinese_rouge_l,     ///< the same over Chinese words
  listed_rouge_l,      ///< the same over Chinese words without those of a list
  class_name,          ///< class_score()
  paragraph,           ///< number_share() of the reference's number
  count,               ///< number_share()
  code                 ///< code_similarity()
};

/// A data set of a benchmark and how it is asked and marked.
struct published_task {
  std::string_view name{};        ///< as in the field "dataset" or the file's name
  std::string_view category{};    ///< of the benchmark's tables
  answer_metric metric{};         ///< of its answers
  std::int64_t max_new_tokens{};  ///< of an answer
  std::string_view prompt{};      ///< {context} and {input} stand for the fields
};

/// The 21 data sets of LongBench.
inline constexpr std::array<published_task, 21> longbench_tasks{
    {{"narrativeqa", "S-Doc QA", answer_metric::f1, 128,
      "You are given a story, which can be either a novel or a movie script, and a question. Answer the "
      "question asconcisely as you can, using a single phrase if possible. Do not provide any "
      "explanation.\n\nStory: {context}\n\nNow, answer the question based on the story asconcisely as you "
      "can, using a single phrase if possible. Do not provide any explanation.\n\nQuestion: {input}\n\n"
      "Answer:"},
     {"qasper", "S-Doc QA", answer_metric::f1, 128,
      "You are given a scientific article and a question. Answer the question as concisely as you can, "
      "using a single phrase or sentence if possible. If the question cannot be answered based on the "
      "information in the article, write \"unanswerable\". If the question is a yes/no question, answer "
      "\"yes\", \"no\", or \"unanswerable\". Do not provide any explanation.\n\nArticle: {context}\n\n "
      "Answer the question based on the above article as concisely as you can, using a single phrase or "
      "sentence if possible. If the question cannot be answered based on the information in the article, "
      "write \"unanswerable\". If the question is a yes/no question, answer \"yes\", \"no\", or "
      "\"unanswerable\". Do not provide any explanation.\n\nQuestion: {input}\n\nAnswer:"},
     {"multifieldqa_en", "S-Doc QA", answer_metric::f1, 64,
      "Read the following text and answer briefly.\n\n{context}\n\nNow, answer the following question "
      "based on the above text, only give me the answer and do not output any other words.\n\nQuestion: "
      "{input}\nAnswer:"},
     {"multifieldqa_zh", "S-Doc QA", answer_metric::chinese_f1, 64,
      "阅读以下文字并用中文简短回答：\n\n{context}\n\n现在请基于上面的文章回答下面的问题，只告诉我答案，不"
      "要输出任何其他字词。\n\n问题：{input}\n回答："},
     {"hotpotqa", "M-Doc QA", answer_metric::f1, 32,
      "Answer the question based on the given passages. Only give me the answer and do not output any "
      "other words.\n\nThe following are given passages.\n{context}\n\nAnswer the question based on the "
      "given passages. Only give me the answer and do not output any other words.\n\nQuestion: {input}\n"
      "Answer:"},
     {"2wikimqa", "M-Doc QA", answer_metric::f1, 32,
      "Answer the question based on the given passages. Only give me the answer and do not output any "
      "other words.\n\nThe following are given passages.\n{context}\n\nAnswer the question based on the "
      "given passages. Only give me the answer and do not output any other words.\n\nQuestion: {input}\n"
      "Answer:"},
     {"musique", "M-Doc QA", answer_metric::f1, 32,
      "Answer the question based on the given passages. Only give me the answer and do not output any "
      "other words.\n\nThe following are given passages.\n{context}\n\nAnswer the question based on the "
      "given passages. Only give me the answer and do not output any other words.\n\nQuestion: {input}\n"
      "Answer:"},
     {"dureader", "M-Doc QA", answer_metric::chinese_rouge_l, 128,
      "请基于给定的文章回答下述问题。\n\n文章：{context}\n\n请基于上述文章回答下面的问题。\n\n问题："
      "{input}\n回答："},
     {"gov_report", "Summ", answer_metric::rouge_l, 512,
      "You are given a report by a government agency. Write a one-page summary of the report.\n\nReport:\n"
      "{context}\n\nNow, write a one-page summary of the report.\n\nSummary:"},
     {"qmsum", "Summ", answer_metric::rouge_l, 512,
      "You are given a meeting transcript and a query containing a question or instruction. Answer the "
      "query in one or more sentences.\n\nTranscript:\n{context}\n\nNow, answer the query based on the "
      "above meeting transcript in one or more sentences.\n\nQuery: {input}\nAnswer:"},
     {"multi_news", "Summ", answer_metric::rouge_l, 512,
      "You are given several news passages. Write a one-page summary of all news. \n\nNews:\n{context}\n\n"
      "Now, write a one-page summary of all the news.\n\nSummary:"},
     {"vcsum", "Summ", answer_metric::chinese_rouge_l, 512,
      "下面有一段会议记录，请你阅读后，写一段总结，总结会议的内容。\n会议记录：\n{context}\n\n会议总结："},
     {"trec", "Few-shot", answer_metric::class_name, 64,
      "Please determine the type of the question below. Here are some examples of questions.\n\n{context}\n"
      "{input}"},
     {"triviaqa", "Few-shot", answer_metric::f1, 32,
      "Answer the question based on the given passage. Only give me the answer and do not output any other "
      "words. The following are some examples.\n\n{context}\n\n{input}"},
     {"samsum", "Few-shot", answer_metric::rouge_l, 128,
      "Summarize the dialogue into a few short sentences. The following are some examples.\n\n{context}\n\n"
      "{input}"},
     {"lsht", "Few-shot", answer_metric::class_name, 64,
      "请判断给定新闻的类别，下面是一些例子。\n\n{context}\n{input}"},
     {"passage_count", "Synthetic", answer_metric::count, 32,
      "There are some paragraphs below sourced from Wikipedia. Some of them may be duplicates. Please "
      "carefully read these paragraphs and determine how many unique paragraphs there are after removing "
      "duplicates. In other words, how many non-repeating paragraphs are there in total?\n\n{context}\n\n"
      "Please enter the final count of unique paragraphs after removing duplicates. The output format "
      "should only contain the number, such as 1, 2, 3, and so on.\n\nThe final answer is: "},
     {"passage_retrieval_en", "Synthetic", answer_metric::paragraph, 32,
      "Here are 30 paragraphs from Wikipedia, along with an abstract. Please determine which paragraph the "
      "abstract is from.\n\n{context}\n\nThe following is an abstract.\n\n{input}\n\nPlease enter the "
      "number of the paragraph that the abstract is from. The answer format must be like \"Paragraph 1\", "
      "\"Paragraph 2\", etc.\n\nThe answer is: "},
     {"passage_retrieval_zh", "Synthetic", answer_metric::paragraph, 32,
      "以下是若干段落文字，以及其中一个段落的摘要。请确定给定的摘要出自哪一段。\n\n{context}\n\n下面是一个"
      "摘要\n\n{input}\n\n请输入摘要所属段落的编号。答案格式必须是\"段落1\"，\"段落2\"等格式\n\n答案是："},
     {"lcc", "Code", answer_metric::code, 64, "Please complete the code given below. \n{context}Next line of code:\n"},
     {"repobench-p", "Code", answer_metric::code, 64,
      "Please complete the code given below. \n{context}{input}Next line of code:\n"}}};

/// The 11 data sets of LV-Eval, each of which comes in five lengths.
inline constexpr std::array<published_task, 11> lv_eval_tasks{
    {{"hotpotwikiqa_mixup", "multi-hop QA", answer_metric::keyword_f1, 64,
      "Answer the question based on the given passages. Questions and answers are only relevant to some "
      "passages. Only give me the answer and do not output any other explanation and evidence.\n\nArticle: "
      "{context}\n\nPlease answer the following question based on the above passages. Questions and "
      "answers are only relevant to some passages. Only give me the answer and do not output any other "
      "explanation and evidence.\n\nQuestion: {input}\nAnswer:"},
     {"loogle_SD_mixup", "single-hop QA", answer_metric::keyword_f1, 64,
      "Please answer the following question based on the given passages. Questions and answers are only "
      "relevant to one passage. Only give me the answer and do not output any other explanation and "
      "evidence.\n\nArticle: {context}\n\nPlease answer the following question based on the above "
      "passages. Questions and answers are only relevant to one passage. Only give me the answer and do "
      "not output any other explanation and evidence.\n\nQuestion: {input}\nAnswer:"},
     {"loogle_CR_mixup", "multi-hop QA", answer_metric::keyword_f1, 64,
      "Please answer the following question based on the given passages. Questions and answers are only "
      "relevant to one passage. Only give me the answer and do not output any other explanation and "
      "evidence.\n\nArticle: {context}\n\nPlease answer the following question based on the above "
      "passages. Questions and answers are only relevant to one passage. Only give me the answer and do "
      "not output any other explanation and evidence.\n\nQuestion: {input}\nAnswer:"},
     {"loogle_MIR_mixup", "multi-hop QA", answer_metric::keyword_f1, 64,
      "Please answer the following question based on the given passages. Questions and answers are only "
      "relevant to one passage. Only give me the answer and do not output any other explanation and "
      "evidence.\n\nArticle: {context}\n\nPlease answer the following question based on the above "
      "passages. Questions and answers are only relevant to one passage. Only give me the answer and do "
      "not output any other explanation and evidence.\n\nQuestion: {input}\nAnswer:"},
     {"multifieldqa_en_mixup", "single-hop QA", answer_metric::keyword_f1, 64,
      "Please answer the following question based on the given passages. Questions and answers are only "
      "relevant to one passage. Only give me the answer and do not output any other explanation and "
      "evidence.\n\nArticle: {context}\n\nPlease answer the following question based on the above "
      "passages. Questions and answers are only relevant to one passage. Only give me the answer and do "
      "not output any other explanation and evidence.\n\nQuestion: {input}\nAnswer:"},
     {"multifieldqa_zh_mixup", "single-hop QA", answer_metric::chinese_keyword_f1, 64,
      "请阅读以下文章并用中文回答问题，问题和答案只与其中一篇文章有关。只需要直接给出问题的答案，不要输出其"
      "他任何解释和证据。\n\n文章：{context}\n\n请基于上面的文章回答下面的问题，问题和答案只与其中一篇文章"
      "有关。只需要直接给出问题的答案，不要输出其他任何解释和证据。\n\n问题：{input}\n回答："},
     {"factrecall_en", "single-hop QA", answer_metric::f1, 16,
      "Please answer the following questions based on the given article.\n\nArticle: {context}\n\nPlease "
      "answer the following questions based on the above article.\n\nQuestion: {input}\nAnswer:"},
     {"factrecall_zh", "single-hop QA", answer_metric::chinese_f1, 16,
      "请基于给定的文章回答下述问题。\n\n文章：{context}\n\n现在请基于上述文章回答下面的问题。\n\n问题："
      "{input}\n回答："},
     {"cmrc_mixup", "single-hop QA", answer_metric::chinese_keyword_f1, 64,
      "请根据下面给定的文章回答问题，问题和答案只与其中一篇文章有关。\n\n文章：{context}\n\n现在请基于上述"
      "文章回答下面的问题，问题和答案只与其中一篇文章有关。\n\n问题：{input}\n回答："},
     {"lic_mixup", "multi-hop QA", answer_metric::chinese_keyword_f1, 64,
      "请根据下面给定的文章回答问题，问题和答案只与其中一篇文章有关。\n\n文章：{context}\n\n请现在基于上述"
      "文章回答下面的问题，问题和答案只与其中一篇文章有关。\n\n问题：{input}\n回答："},
     {"dureader_mixup", "multi-hop QA", answer_metric::listed_rouge_l, 64,
      "请根据下面给定的文章回答问题，问题和答案只与其中一篇文章有关。\n\n文章：{context}\n\n现在请基于上述"
      "文章回答下面的问题，问题和答案只与其中一篇文章有关。\n\n问题：{input}\n回答："}}};

/// English words that LV-Eval does not count as keywords.
inline constexpr std::array<std::string_view, 38> lv_eval_ignored_words{
    "and", "to",   "of",    "in",    "her",  "was", "with",    "for",  "it",  "from", "is",    "that", "his",
    "he",  "by",   "she",   "they",  "or",   "at",  "because", "be",   "on",  "are",  "their", "what", "as",
    "had", "were", "about", "being", "this", "who", "but",     "have", "has", "when", "which", "does"};

/// Chinese words that LV-Eval does not count.
inline constexpr std::array<std::string_view, 85> lv_eval_ignored_chinese_words{
    "的",   "和",   "是", "等",   "在",   "年",   "可以", "为",   "与",   "‰",  "了", "或",   "一种", "月", "c",
    "至",   "日",   "有", "进行", "于",   "不",   "中",   "×",    "根据", "小", "由", "亩",   "也",   "要", "指",
    "法",   "会",   "元", "主要", "以及", "通过", "首先", "对",   "然后", "号", "以", "所",   "后",   "丁", "包括",
    "无",   "将",   "用", "能",   "形",   "方面", "因素", "位于", "而",   "从", "到", "一定", "用于", "但", "使用",
    "让",   "具有", "并", "亿元", "万元", "上",   "类",   "基于", "才",   "来", "地", "片",   "其他", "个", "或者",
    "变得", "时",   "给", "你",   "使",   "条",   "受",   "已经", "带",   "度"};

/// A data set of InfiniteBench: one prompt for models that chat (as published for GPT-4) and one for those that go on
/// with a text (as published for YaRN-Mistral, Yi and ChatGLM3). {question} and {OPTION_A} to {OPTION_D} stand for
/// fields too.
struct infinite_bench_task {
  std::string_view name{};        ///< the name of its file
  std::string_view title{};       ///< in the paper's tables
  std::int64_t max_new_tokens{};  ///< of an answer
  std::string_view chat{};        ///< a user's turn
  std::string_view text{};        ///< a text to go on with
};

/// The data sets of InfiniteBench that ask for a short answer about a text.
inline constexpr std::array<infinite_bench_task, 6> infinite_bench_tasks{
    {{"passkey", "Retrieve.PassKey", 6,
      "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. I "
      "will quiz you about the important information there.\n\n{context}\n\n{input}",
      "There is an important info hidden inside a lot of irrelevant text. Find it and memorize it. I will "
      "quiz you about the important information.\n\n{context}\n\n{input}\n\nThe pass key is"},
     {"number_string", "Retrieve.Number", 12,
      "There is an important info hidden inside a lot of irrelevant text. Find it. I will quiz you about "
      "the important information there.\n\n{context}\n\n{input}",
      "There is an important info hidden inside a lot of irrelevant text. Find it. I will quiz you about "
      "the important information there.\n\n{context}\n\n{input}\n\nThe sequence of digits is"},
     {"kv_retrieval", "Retrieve.KV", 50,
      "Extract the value corresponding to the specified key in the JSON object below.\n\n{context}\n\n"
      "{input}",
      "Extract the value corresponding to the specified key in the JSON object below.\n\n{context}\n\n"
      "{input}"},
     {"longbook_choice_eng", "En.MC", 40,
      "Read the book and answer the question.\n\n{context}\n\nQuestion: {question}\n\nOnly one of the "
      "following options is correct, tell me the answer using one single letter (A, B, C, or D). Don't say "
      "anything else.\nA. {OPTION_A}\nB. {OPTION_B}\nC. {OPTION_C}\nD. {OPTION_D}",
      "Read the book and answer the question.\n\n{context}\n\nQuestion: {question}\nA. {OPTION_A}\nB. "
      "{OPTION_B}\nC. {OPTION_C}\nD. {OPTION_D}\n\nThe letter of the correct answer is"},
     {"longbook_qa_eng", "En.QA", 40,
      "Read the book below and answer a question.\n\n{context}\n\nQuestion: {question}\n\nBe very concise.",
      "Read the book and answer the question. Be very concise in your answer.\n\n{context}\n\nQuestion: "
      "{question}\nAnswer:"},
     {"longbook_qa_chn", "Zh.QA", 40,
      "请根据以下书籍回答我的问题。\n\n{context}\n\n问题：{question}\n请尽量简短地回答。",
      "阅读以下书籍然后回答问题。\n\n{context}\n\n问题：{question}\n答案："}}};

/// Key-value retrieval of Lost in the Middle; {formatted_kv_records} and {key} stand for the data.
inline constexpr std::string_view key_value_prompt =
    "Extract the value corresponding to the specified key in the JSON object below.\n\nJSON data:\n"
    "{formatted_kv_records}\n\nKey: \"{key}\"\nCorresponding value:";

}  // namespace lodestone::eval
