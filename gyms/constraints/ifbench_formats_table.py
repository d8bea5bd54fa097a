"""The table of ifbench_formats.py: id, rule, arguments, the two checks, and where they part."""

from __future__ import annotations

from gyms.constraints import arguments as a
from gyms.constraints.constraint import Check, Constraint
from gyms.constraints.ifbench_formats import (
    SIMPLE_SENTENCE,
    alliteration_increment,
    alliteration_increment_upstream,
    emoji_sentences,
    emoji_sentences_upstream,
    last_first,
    last_first_upstream,
    line_indent,
    line_indent_upstream,
    list_separator,
    list_separator_upstream,
    nested_parentheses,
    nested_parentheses_upstream,
    nested_quotes,
    nested_quotes_upstream,
    newline,
    newline_upstream,
    no_bullets_bullets,
    no_bullets_bullets_upstream,
    no_whitespace,
    options,
    options_upstream,
    output_template,
    output_template_upstream,
    quote_unquote,
    quote_unquote_upstream,
    repeat_change,
    repeat_change_upstream,
    repeat_simple,
    repeat_span,
    repeat_span_upstream,
    sentence_increment,
    sentence_increment_upstream,
    sentence_keyword,
    sentence_keyword_upstream,
    sentence_words,
    sentence_words_upstream,
    sub_bullets,
    sub_bullets_upstream,
    thesis,
    thesis_upstream,
    title_case,
    title_case_upstream,
)

__all__ = ["IFBENCH_FORMATS"]


def _id(
    name: str, rule: str, check: Check, args: type[a.Args] = a.NoArgs, compat: Check | None = None, but: str = ""
) -> Constraint:
    return Constraint(id=name, rule=rule, source="IFBench", check=check, args=args, compat=compat, difference=but)


_OWN_SENTENCES = "sentences are split by this project's splitter"

IFBENCH_FORMATS: tuple[Constraint, ...] = (
    _id(
        "sentence:alliteration_increment",
        "Each sentence must have a longer sequence of consecutive alliterative words than the previous one.",
        alliteration_increment,
        a.NoArgs,
        alliteration_increment_upstream,
        "the longest run of a sentence counts, upstream adds all runs; there must be two sentences",
    ),
    _id(
        "format:parentheses",
        "Nest parentheses (and [brackets {and braces}]) at least 5 levels deep.",
        nested_parentheses,
        a.NoArgs,
        nested_parentheses_upstream,
        "the nest must be closed, upstream is content with its innermost pair",
    ),
    _id(
        "format:quotes",
        "Include quotes within quotes within quotes, at least 3 levels deep, alternating between double quotes and "
        "single quotes.",
        nested_quotes,
        a.NoArgs,
        nested_quotes_upstream,
        "apostrophes are no quotes, typographic quotes are",
    ),
    _id(
        "format:options",
        "Answer with one of the following options: {options}. Do not give any explanation.",
        options,
        a.Options,
        options_upstream,
        "'or' separates as a word only (not in 'orange'); a) may be given as 'a)' or 'a'",
    ),
    _id(
        "format:newline",
        "Write each word on a new line.",
        newline,
        a.NoArgs,
        newline_upstream,
        "every line must hold one word, upstream compares two totals",
    ),
    _id(
        "format:emoji",
        "Please use an emoji at the end of every sentence.",
        emoji_sentences,
        a.NoArgs,
        emoji_sentences_upstream,
        "emoji of several characters are read whole, and each line ends a sentence",
    ),
    _id(
        "ratio:sentence_words",
        "Respond with three sentences, all containing the same number of characters but using all different words.",
        sentence_words,
        a.NoArgs,
        sentence_words_upstream,
        "the words are compared, upstream forgets to",
    ),
    _id(
        "sentence:keyword",
        "The response must include keyword {word} in the {N}-th sentence.",
        sentence_keyword,
        a.SentenceKeyword,
        sentence_keyword_upstream,
        "the keyword starts a word (cats has cat, concatenate has not), upstream finds it anywhere",
    ),
    _id(
        "words:last_first",
        "The last word of each sentence must become the first word of the next sentence.",
        last_first,
        a.NoArgs,
        last_first_upstream,
        "there must be two sentences; " + _OWN_SENTENCES,
    ),
    _id(
        "sentence:increment",
        "Each sentence must contain exactly {small_n} more words than the previous one.",
        sentence_increment,
        a.SmallNumber,
        sentence_increment_upstream,
        "there must be two sentences; " + _OWN_SENTENCES,
    ),
    _id(
        "format:line_indent",
        "Create stairs by incrementally indenting each new line.",
        line_indent,
        a.NoArgs,
        line_indent_upstream,
        "tabs indent, all blank lines are skipped, and there must be two lines",
    ),
    _id(
        "format:quote_unquote",
        "Every quoted phrase must be followed by an unquoted explanation.",
        quote_unquote,
        a.NoArgs,
        quote_unquote_upstream,
        "there must be a quoted phrase, quotes must be paired, and words must follow each",
    ),
    _id(
        "format:list",
        "Answer with a list of items, instead of bullet points use {sep}.",
        list_separator,
        a.Separator,
        list_separator_upstream,
        "items must hold text, and ordinary bullets fail",
    ),
    _id(
        "format:thesis",
        "Each section must begin with a thesis statement in italics, use HTML to indicate the italics.",
        thesis,
        a.NoArgs,
        thesis_upstream,
        "each section under a heading is checked and must begin in italics, upstream looks for one pair of tags",
    ),
    _id(
        "format:sub-bullets",
        "Your response must include bullet points denoted by * and at least one sub-bullet point denoted by - for each "
        "bullet point.",
        sub_bullets,
        a.NoArgs,
        sub_bullets_upstream,
        "bullets are lines and there must be one, upstream passes text without any",
    ),
    _id(
        "format:no_bullets_bullets",
        "Your answer must contain at least two sentences ending in a period followed by at least two bullet points "
        "denoted by *.",
        no_bullets_bullets,
        a.NoArgs,
        no_bullets_bullets_upstream,
        "blank lines do not matter, and the sentences must end in a period",
    ),
    _id(
        "repeat:repeat_change",
        "Repeat the request, but change the first word of the repeated request, (do not say anything before repeating "
        "the request; the request you need to repeat does not include this sentence) and do not answer the actual "
        "request!",
        repeat_change,
        a.RepeatPrompt,
        repeat_change_upstream,
        "the first word itself must differ, upstream is content with a changed space",
    ),
    _id("repeat:repeat_simple", SIMPLE_SENTENCE, repeat_simple),
    _id(
        "repeat:repeat_span",
        "Copy the span of words that lies between (and including) index {n_start} and {n_end}, the indices are "
        "character indices!",
        repeat_span,
        a.RepeatSpan,
        repeat_span_upstream,
        "indices count characters and the last is included, upstream counts words and leaves the last out",
    ),
    _id(
        "format:title_case",
        "Write the entire response in title case (capitalize the first letter of every major word).",
        title_case,
        a.NoArgs,
        title_case_upstream,
        "articles, conjunctions and short prepositions may stay lower-case, upstream fails them",
    ),
    _id(
        "format:output_template",
        "Use this exact template for your response: My Answer: [answer] My Conclusion: [conclusion] Future Outlook: "
        "[outlook]",
        output_template,
        a.NoArgs,
        output_template_upstream,
        "in this order, from the start, each with text of its own",
    ),
    _id("format:no_whitespace", "The output should not contain any whitespace.", no_whitespace),
)
