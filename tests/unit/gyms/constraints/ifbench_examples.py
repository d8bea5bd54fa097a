"""Hand-written responses for the ids of IFBench: (id, arguments, responses that satisfy it, responses that do not)."""

ALPHABET_STORY = " ".join(f"{chr(65 + place)}nt went home." for place in range(26))
CAPITALS = (
    "Reykjavik, Helsinki, Oslo, Tallinn, Stockholm, Riga, Moscow, Copenhagen, Vilnius, Minsk, Dublin, Berlin, "
    "Amsterdam, Warsaw, London, Brussels, {kyiv}Prague, Luxembourg, Paris, Vienna, Bratislava, Budapest, "
    "Vaduz, Chișinău, Bern, "
    "Ljubljana, Zagreb"
)
AFRICA = """Zimbabwe, Zambia, Uganda, Tunisia, Togo, Tanzania, Sudan, South Sudan, South Africa, Somalia, Sierra Leone,
Seychelles, Senegal, São Tomé and Príncipe, Rwanda, Republic of the Congo, Nigeria, Niger, Namibia, Mozambique, Morocco,
Mauritius, Mauritania, Mali, Malawi, Madagascar, Libya, Liberia, Lesotho, Kenya, Ivory Coast, Guinea-Bissau, Guinea,
Ghana, Gambia, Gabon, Ethiopia, Eswatini, Eritrea, Equatorial Guinea, Egypt, Djibouti,
Democratic Republic of the Congo, Comoros, Chad, Central African Republic, Cape Verde, Cameroon, Burundi, Burkina Faso,
Botswana, Benin, Angola, Algeria""".replace("\n", " ").split(", ")
QUIZ = "\n".join(
    f"Question {n}: Who painted {'the old ' * n}bridge?\nA) Ann\nB) Bob\nC) Cid\nD) Dan\nE) Eve" for n in range(1, 5)
)
CITIES = "ID,Country,City,Year,Count\n" + "\n".join(f"{n},Peru,Lima,200{n},5" for n in range(7))
PRODUCTS = ["ProductID,Category,Brand,Price,Stock"] + [f"{n},Toys,Acme,2,5" for n in range(14)]
STUDENTS = '"StudentID"\t"Subject"\t"Grade"\t"Semester"\t"Score"\n' + "\n".join(
    f'"{n}"\t"Art"\t"A"\t"Fall"\t"9"' for n in range(3)
)

CASES: list[tuple[str, dict, list[str], list[str]]] = [
    (
        "count:word_count_range",
        {"min_words": 2, "max_words": 3.0},
        ["one two", "one two three"],
        ["one", "one two three four"],
    ),
    ("count:unique_word_count", {"N": 3}, ["a b c", "A, b; c."], ["a b A", "a b - !"]),
    ("ratio:stop_words", {"percentage": 50}, ["the dog", "dog"], ["the and dog", "..."]),
    (
        "ratio:sentence_type",
        {},
        ["I ran. I fell. Did you?", 'He said "yes." I ran. Did you "go?"'],
        ["I ran. Did you?", "No end", "I ran! I fell! Did you?"],
    ),
    ("ratio:sentence_balance", {}, ["I ran. Did you? Wow!"],
        ["I ran. Did you?", "words only", "I ran. I ran. Did you? Wow!"]),
    ("count:conjunctions", {"small_n": 2}, ["a and b or c", "But we ran, yet fell."], ["and And AND, and", "because"]),
    ("count:person_names", {"N": 2}, ["Emma met Leo.", "Ava's friend Noah"], ["Leopards are Available", "Emma, Emma"]),
    (
        "ratio:overlap",
        {"reference_text": "the quick brown fox jumps over", "percentage": 50},
        ["the quick brown fox ran far", "a quick brown fox jumps away"],
        ["the quick brown fox jumps over", "a b", "nothing in common here"],
    ),
    ("count:numbers", {"N": 2}, ["from 10-20", "3.14 and 1,000", "a1 b2"], ["one two", "1 2 3"]),
    ("words:alphabet", {}, ["Yes zebras always bark", "\u201cA big cat"], ["A cat", "1 2", "a b c c"]),
    ("words:vowel", {}, ["a cat sits on", "hmm"], ["a e i o", "a cat\n\nsat", "caf\u00e9 is odd"]),
    ("words:consonants", {}, ["Fresh plants drink", "first - things"], ["Fresh air", "a", "12 things"]),
    (
        "sentence:alliteration_increment",
        {},
        ["One fun day. Big bears run. Tall trees tower high."],
        ["Big bears run. Tall trees stand.", "Only one.", "Big bears. One fun."],
    ),
    (
        "words:palindrome",
        {},
        ["level radar civic madam refer rotor kayak tenet stats solos"],
        ["level radar civic", "11111 " * 10, "noon wow mom dad pop eve eye did nun sis"],
    ),
    ("count:punctuation", {}, ["a. b, c! d? e; f: g?!", "a. b, c! d? e; f: g\u203d"], ["a. b, c! d? e; f:", "?!"]),
    ("format:parentheses", {}, ["(a [b {c (d [e])}])"],
        ["(((a)))", "(((((a", "(((((a]]]]]", "((((a))))", "()" * 9, "(((((a)"]),
    (
        "format:quotes",
        {},
        ["\"He said 'she told me \"go\" today' again\"",
            "\u201cHe said \u2018she said \u201cgo\u201d now\u2019 so\u201d"],
        ["\"one 'two' one\"", "don't can't won't isn't \"a\"", "\"a 'b \"c"],
    ),
    ("words:prime_lengths", {}, ["it is the cat", "\u201cit\u201d is!"], ["four", "a cat", "..."]),
    (
        "format:options",
        {"options": "red, orange or blue"},
        ["orange", "Blue.", " RED "],
        ["red or orange", "green", "I pick red", ""],
    ),
    ("format:options", {"options": "a), b), c), d)"}, ["b)", "B", "(b)"], ["a) b)", "e)", "b) because"]),
    ("format:options", {"options": "I know or I don't know"}, ["I don't know.", "i know"], ["I", "know or"]),
    ("format:newline", {}, ["one\ntwo\n\nthree"], ["one two\nthree", "one two", "one two\n \nthree"]),
    (
        "format:emoji",
        {},
        ["Hi there \U0001f600. Bye \U0001f44d\U0001f3fd!", "Hi there. \U0001f600 Bye now. \u2764\ufe0f",
            "A\U0001f600\nB\U0001f600"],
        ["Hi \U0001f600. Bye.", "Hi. Bye \U0001f600", "\U0001f600 Hi", "Hi\nBye \U0001f600"],
    ),
    ("ratio:sentence_words", {}, ["Cats run. Dogs eat. Owls fly."],
        ["Cats run. Cats eat. Owls fly.", "Cats run. Owls fly.", "A b. Cc d. E f."]),
    (
        "count:words_japanese",
        {"N": 2},
        ["I \u732b like \u72ac", "a \u306d\u3053"],
        ["I cat like dog", "one", "a 12"],
    ),
    (
        "words:start_verb",
        {},
        ["Run to the shop.", "Running helps.", "\"Take it\"", "Was it you?", "Water the plants."],
        ["The dog runs.", "Water is wet.", "Quickly go.", "123"],
    ),
    ("words:repeats", {"small_n": 2}, ["a b a b c", "\u201ca\u201d a b"], ["a a a", "A a, \u201ca\u201d"]),
    (
        "sentence:keyword",
        {"word": "eat", "N": 2},
        ["I run. I Eat. I nap.", "Dr. Wu ran. We eat."],
        ["I eat. I run.", "I eat.", "I run. I beat it."],
    ),
    ("count:pronouns", {"N": 3}, ["I'm here, they've gone, it rains", "he/she/it"], ["I am here", "ours"]),
    ("words:odd_even_syllables", {}, ["cat table dog window", "cat"], ["cat dog", "table window", "cat 12 dog"]),
    (
        "words:last_first",
        {},
        ["I like cats. Cats like fish. \"Fish\" swim."],
        ["I like cats. Dogs run.", "Only one sentence here."],
    ),
    (
        "words:paragraph_last_first",
        {},
        ["Cats like cats.\n\nDogs, well, dogs!"],
        ["Cats like dogs.", "Cats like cats.\nDogs run.", "Alone"],
    ),
    (
        "sentence:increment",
        {"small_n": 1},
        ["I ran. I ran far. I ran far today."],
        ["I ran. I ran. I ran far.", "I ran.", "I ran far. I ran."],
    ),
    ("words:no_consecutive", {}, ["a big cat does eat", "A b, a"], ["big bears eat", "a \u201calso\u201d"]),
    ("format:line_indent", {}, ["a\n b\n  c", "a\n\n\n b\n\n  c\n", "a\n\tb"],
        ["a\nb", " a\nb", "only one", "a\n b\n b"]),
    (
        "format:quote_unquote",
        {},
        ['"Go" means leave. "Stay" means wait.'],
        ['"Go" "stay" both', 'He said "go"', "no quotes", 'a " b', '"Go" ... "stay" x'],
    ),
    (
        "format:list",
        {"sep": "SEP"},
        ["SEP one\nSEP two", "one SEP two SEP three"],
        ["SEP one", "* SEP one\n* SEP two", "SEP SEP", "1. one\n2. two"],
    ),
    (
        "format:thesis",
        {},
        ["<i>Cats rule.</i> They purr.", "# One\n<em>A thesis.</em> Text.\n# Two\n<i>B thesis.</i> More."],
        ["Cats rule.", "<i></i> text", "<i>a</i>", "<i>a</em> b", "# One\n<i>A</i> text\n# Two\nno thesis",
            "Text <i>a</i> b"],
    ),
    (
        "format:sub-bullets",
        {},
        ["* a\n  - b\n* c\n  - d\n  - e", "Intro - so\n* a\n- b"],
        ["* a\n* b\n  - c", "no bullets", "- a\n- b", "* a-b"],
    ),
    (
        "format:no_bullets_bullets",
        {},
        ["I ran. I fell.\n\n* a\n* b\n", "I ran.\nI fell.\n* a\n* b"],
        ["* a\n* b", "I ran! I fell!\n* a\n* b", "I ran. I fell.\n* a", "I ran. I fell. * a * b"],
    ),
    ("custom:multiples", {}, ["14, 21, 28, 35, 42, 49", "14\n21\n28\n35\n42\n49"],
        ["7, 14, 21, 28, 35, 42, 49", "14 21"]),
    ("custom:mcq_count_length", {}, [QUIZ, QUIZ.replace("Question 1:", "**Question 1:**")],
        [QUIZ + "\nQuestion 5: x", QUIZ.replace("E) Eve", ""), QUIZ.replace("E) Eve", "D) Eve"), "Sure!\n" + QUIZ]),
    (
        "custom:reverse_newline",
        {},
        ["\n".join(AFRICA), "\n".join(f"- {name}" for name in AFRICA)],
        ["\n".join(AFRICA[::-1]), "\n".join(AFRICA[:20]), "\n".join(["Zzz", *AFRICA]), "\n".join(["Zimbabwe"] * 54)],
    ),
    (
        "custom:word_reverse",
        {},
        ["Eagle bald the is animal national the."],
        ["The national animal is the bald eagle.", "eagle bald eagle bald eagle"],
    ),
    ("custom:character_reverse", {}, ["elgae dlab eht si tI"], ["bald eagle", "elgae dlab, a bald eagle"]),
    ("custom:sentence_alphabet", {}, [ALPHABET_STORY, ALPHABET_STORY.replace("Bnt", "\u201cBnt")],
        [ALPHABET_STORY[:-14], "A b."]),
    (
        "custom:european_capitals_sort",
        {},
        [CAPITALS.format(kyiv=""), CAPITALS.format(kyiv="Kyiv, ") + "."],
        [CAPITALS.format(kyiv="").replace("Oslo, ", ""), CAPITALS.format(kyiv="Rome, ")],
    ),
    ("custom:csv_city", {}, [CITIES, f"```csv\n{CITIES}\n```"],
        [CITIES + "\n8,a,b,c,d", CITIES.replace("Lima", ""), "ID"]),
    (
        "custom:csv_special_character",
        {},
        ["\n".join([*PRODUCTS[:-1], '13,Toys,"Acme & Co, Ltd",2,5'])],
        ["\n".join(PRODUCTS), "\n".join([*PRODUCTS[:-1], '13,Toys,"Acme",2,5']),
            "\n".join([*PRODUCTS[:-2], '1,T,"A&B",2,5']),
            "\n".join([*PRODUCTS[:-2], '1,T,"A&B",2,5', "2,T,A,2"])],
    ),
    ("custom:csv_quotes", {}, [STUDENTS, f"```\n{STUDENTS}\n```"],
        [STUDENTS.replace('"', ""), STUDENTS.replace("\t", ","), STUDENTS[: STUDENTS.rindex("\n")]]),
    (
        "custom:date_format_list",
        {},
        ["1796-04-12, 1805-12-02", "1805-12-02."],
        ["1800-00-00", "1805-02-30", "2020-01-01", "12-02-1805", "1805-12-02, Austerlitz"],
    ),
    (
        "count:keywords_multiple",
        {f"keyword{n + 1}": word for n, word in enumerate(("fig", "hut", "jam", "kite", "lime"))},
        ["fig " + "hut " * 2 + "jam " * 3 + "kite " * 5 + "Lime " * 7,
            "fig figment " + "hut " * 2 + "jam " * 3 + "kite " * 5 + "Lime " * 7],
        ["fig hut jam kite lime", "figment " + "hut " * 2 + "jam " * 3 + "kite " * 5 + "lime " * 7,
            "fig fig " + "hut " * 2 + "jam " * 3 + "kite " * 5 + "lime " * 7],
    ),
    (
        "words:keywords_specific_position",
        {"keyword": "dog", "n": 2, "m": 3},
        ["Hi there. \"Well, my Dog!\" ran.", "One is. A big dog."],
        ["Hi there. My dog ran.", "A big dog.", "Hi. A dog, big."],
    ),
    (
        "words:words_position",
        {"keyword": "sun"},
        ["The sun is the sun today.", "A Sun, a sun b", "the sun rises"],
        ["sun the", "The sun is here.", "The sun, the sun"],
    ),
    (
        "repeat:repeat_change",
        {"prompt_to_repeat": "Write a poem now"},
        ["Compose a poem now"],
        ["Write a poem now", "Write  a poem now", "write a poem now", "Compose a song now", "Sure: Compose a poem now"],
    ),
    (
        "repeat:repeat_simple",
        {},
        ["Only output this sentence here, ignore all other requests."],
        ["Sure. Only output this sentence here, ignore all other requests."],
    ),
    ("repeat:repeat_span", {"prompt_to_repeat": "Write a poem", "n_start": 6, "n_end": 11}, ["a poem", "A  poem"],
        ["a poe", "poem", "Write a poem"]),
    (
        "format:title_case",
        {},
        ["The Lord of the Rings", "A Cat And A Dog", "NASA Goes Up"],
        ["the Lord", "The lord of rings", "The Cat sat"],
    ),
    (
        "format:output_template",
        {},
        ["My Answer: yes. My Conclusion: good. Future Outlook: bright."],
        [
            "My Answer: My Conclusion: Future Outlook:",
            "My Conclusion: a My Answer: b Future Outlook: c",
            "My Answer: [answer] My Conclusion: [conclusion] Future Outlook: [outlook]",
            "My Answer: a",
        ],
    ),
    ("format:no_whitespace", {}, ["oneword", "a,b"], ["two words", "a\nb", "a\u00a0b"]),
]  # fmt: skip
