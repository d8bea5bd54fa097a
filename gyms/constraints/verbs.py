"""Is this word a verb: a small lexicon of base forms with their regular and irregular inflections.

Stands in for a part-of-speech tagger, whose model is not available here, for one question only: does a response start
with a verb. A word that is a noun as often as a verb ("Water is wet") counts as a verb unless a finite verb follows it.
"""

from __future__ import annotations

from gyms.constraints.wordlists import word_set

__all__ = ["starts_with_verb"]

_BASE = word_set("""
    accept accompany achieve acknowledge acquire act adapt add address adjust admire admit adopt advise agree aim
    align allow alter analyze analyse announce answer appear apply appreciate approach argue arrange arrive ask
    assemble assess assign assist assume assure attach attempt attend avoid award bake balance base be bear beat
    become beg begin behold believe belong bend bet bid bind bite blend bless blow boil book borrow bounce bow break
    breathe bring broaden brush build burn burst buy calculate call calm care carry carve cast catch cause celebrate
    challenge change charge chase check cheer choose chop circle cite claim clarify clean clear click climb close
    collect combine come comfort commit communicate compare compete complete compose compute conclude conduct
    confirm connect consider consist construct consult consume contact contain continue contribute control convert
    convince cook cool copy correct count cover craft create cross cry cultivate cut dance dare deal decide declare
    decorate decrease dedicate deepen define delete deliver demand demonstrate depend describe deserve design desire
    destroy determine develop devise die differ dig digest diminish direct disagree discover discuss display dive
    divide do double draft drag draw dream dress drill drink drive drop dry earn eat edit educate eliminate embark
    embrace emerge emphasize employ empower enable encounter encourage end endure engage enhance enjoy ensure enter
    entertain envision escape establish estimate evaluate examine exceed exchange excite execute exercise exist
    expand expect experience experiment explain explore express extend extract face facilitate fade fail fall
    familiarize fasten feed feel fetch fight figure fill filter find finish fit fix flip float flow fly focus fold
    follow forge forget forgive form formulate foster free freeze fry fulfill gain gather generate get give glance
    glow go grab grasp greet grind grip grow guarantee guess guide handle hang happen harness harvest have head heal
    hear heat help hesitate hide highlight hike hire hit hold honor hope host hug hum hunt hurry identify ignore
    illustrate imagine implement import improve include incorporate increase indicate influence inform initiate
    insert inspect inspire install integrate intend interact introduce invent invest investigate invite involve join
    journey judge jump justify keep kick kill kiss kneel knit knock know label land laugh launch lay lead lean leap
    learn leave lend let leverage lie lift limit link list listen live load locate lock look lose love lower
    maintain make manage march mark marry master match matter maximize mean measure meditate meet melt memorize
    mention merge migrate minimize miss mix modify monitor motivate mount move multiply navigate need negotiate note
    notice nourish nurture obey observe obtain occur offer open operate optimize order organize outline overcome own
    pack paint park participate pass pause pay peel perform permit persuade pick place plan plant play plot point
    polish ponder possess pour practice practise praise pray prefer prepare present preserve press pretend prevent
    print prioritize proceed process produce program promise promote propose protect prove provide publish pull
    purchase pursue push put question quit raise reach react read realize rebuild recall receive recognize recommend
    record recover reduce refer refine reflect refuse regard register regret reject rejoice relate relax release
    rely remain remember remind remove render repair repeat replace reply report represent request require rescue
    research resist resolve respect respond rest restore retain retire return reveal review revise reward rewrite
    ride ring rinse rise roam roar roll row rub ruin run rush sail save savor say scan scatter schedule score scream
    seal search season secure see seek seem select sell send separate serve set settle sew shake shape share sharpen
    shift shine ship shoot shop shout show shrink shut sigh simplify sing sink sit skip slay sleep slice slide slip
    slow smell smile soak soar solve sort sound sow spare speak spell spend spin split spot spray spread spring
    sprinkle squeeze stand stare start state stay steal step stick stir stop store strengthen stretch strike strive
    struggle study submit substitute subtract succeed suffer suggest summarize supply support suppose surround
    survive suspect sustain swallow swap swear sweep swim swing switch take talk taste teach tear tell test thank
    think thrive throw tie toast touch trace track trade train transfer transform translate travel treat tremble
    trim trust try tuck turn twist type understand undertake unite unlock unleash unveil unwind update upgrade
    upload use utilize vanish vary venture verify view visit visualize wait wake walk wander want warm warn wash
    watch water wave weave wear weigh welcome whip whisk whisper widen win wind wipe wish wonder work worry wrap
    write yell yield zoom
    """)
_IRREGULAR = word_set("""
    am is are was were been did done does had has began begun bent bit blew broke brought built bought came caught
    chose chosen cut dealt drew drawn drank drunk drove driven ate eaten fell fallen fed felt fought found flew
    flown forgot forgave froze got gave given went gone grew grown hung heard hid held kept knelt knew known laid
    led left lent lost made meant met paid put quit rode ran said saw seen sought sold sent shook shone shot showed
    shut sang sat slept spoke spent spun stood stole stuck struck swam swung took taken taught tore told thought
    threw understood woke wore won wrote written let's
    """)
_FINITE = word_set("""
    is are was were has had can could will would should may might must does did isn't wasn't
    """)


def starts_with_verb(words: list[str]) -> bool:
    """True where the first of these words (punctuation removed) is read as a verb."""
    if not words:
        return False
    word = words[0].lower().replace("\u2019", "'")
    if word.removesuffix("n't") in ("do", "does", "did", "is", "are", "was", "were", "have", "has", "had"):
        return True
    if word in _IRREGULAR or _is_gerund(word):
        return True
    following = words[1].lower() if len(words) > 1 else ""
    return _is_form(word) and following not in _FINITE


def _is_form(word: str) -> bool:
    return any(stem in _BASE for stem in _stems(word))


def _is_gerund(word: str) -> bool:
    return word.endswith("ing") and len(word) > 4 and any(stem in _BASE for stem in _unsuffixed(word, "ing"))


def _stems(word: str) -> list[str]:
    stems = [word]
    if word.endswith("ies") or word.endswith("ied"):
        stems.append(word[:-3] + "y")
    if word.endswith("es"):
        stems.append(word[:-2])
    if word.endswith("s") and not word.endswith("ss"):
        stems.append(word[:-1])
    if word.endswith("ed"):
        stems.extend(_unsuffixed(word, "ed"))
    return stems


def _unsuffixed(word: str, suffix: str) -> list[str]:
    """`making` may be of make, `running` of run, `walking` of walk."""
    stem = word[: -len(suffix)]
    found = [stem, stem + "e"]
    if len(stem) > 2 and stem[-1] == stem[-2]:
        found.append(stem[:-1])
    if suffix == "ing" and stem.endswith("y"):
        found.append(stem[:-1] + "ie")
    return found
