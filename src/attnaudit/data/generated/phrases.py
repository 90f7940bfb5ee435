"""The clauses of generated reviews: how an opinion is said, denied, joined and reported.

Names in braces are filled in. `{adjective}`, `{noun}`, `{verb}`, `{base}`, `{feeling}`, `{adverb}`
are words of opinion and `{neg}` is a negator; in `PLAIN` and `DENIED` they are evidence. `{a}` is
"a" or "an", whichever the next word takes; `[is/was]` follows the tense of the review; `{be}` also
the number of `{side}`.
"""

from __future__ import annotations

# Opinions on one side of the thing, as they are said; each can stand alone or be joined.
PLAIN: tuple[str, ...] = (
    "{side} {be} {very}{adjective}",
    "{side} {be} {very}{adjective}",
    "I [find/found] {side} {very}{adjective}",
    "I {verb} {side}",
    "I {verb} {side}",
    "I [am/was] {feeling} by {side}",
    "{side} left me {feeling}",
    "{doer} {adverb}",
)
# Opinions on the thing as a whole.
PLAIN_WHOLE: tuple[str, ...] = (
    "it [is/was] {a} {very}{whole_adjective} {item}",
    "this [is/was] {a} {very}{whole_adjective} {item}",
    "I would call it {a} {whole_adjective} {item}",
    "it [is/was] {a} {noun}",
    "for me it [is/was] {a} {noun}",
    "I {verb} every {moment} of it",
)
# Whole sentences that cannot be joined.
EXCLAMATIONS: tuple[str, ...] = (
    "what {a} {whole_adjective} {item}!",
    "{a} {very}{whole_adjective} {item}.",
    "{a} {whole_adjective} {item}, all in all.",
    "in short, {a} {noun}.",
    "{very}{whole_adjective}, all of it.",
)
# The same, denied: the word of opinion has the other polarity than the clause.
DENIED: tuple[str, ...] = (
    "{side} {be} {neg:not} {adjective}",
    "{side} {be} {neg:not} particularly {adjective}",
    "{side} {be} {neg:never} {adjective}",
    "{side} {be} {neg:hardly} {adjective}",
    "{side} {be} {neg:far from} {adjective}",
    "{side} {be} {neg:anything but} {adjective}",
    "{side} {be} {neg:by no means} {adjective}",
    "{side} {be} {neg:in no way} {adjective}",
    "{side} {be_not} {adjective}",
    "{side} {be_not} exactly {adjective}",
    "{neg:nothing} about {side} [is/was] {adjective}",
    "{neg:nobody} could call {side} {adjective}",
    "I would {neg:not} call {side} {adjective}",
    "I {neg:wouldn't} call {side} {adjective}",
    "I did {neg:not} {base} {side}",
    "I {neg:didn't} {base} {side}",
    "I [am/was] {neg:far from} {feeling} by {side}",
    "{doer} {neg:anything but} {adverb}",
)
DENIED_WHOLE: tuple[str, ...] = (
    "it [is/was] {neg:hardly} {a} {noun}",
    "it [is/was] {neg:no} {noun}",
    "it [is/was] {neg:not} {a} {whole_adjective} {item}",
    "it [is/was] {neg:anything but} {a} {noun}",
    "there [is/was] {neg:not} one {whole_adjective} {moment} in it",
)
# Two clauses as one sentence.
AGREEING: tuple[str, ...] = ("{first}, and {second}.", "{first}; {second}.")
OPPOSED: tuple[str, ...] = (
    "{first}, but {second}.",
    "{first}, yet {second}.",
    "although {first}, {second}.",
    "{first}; {second}, though.",
)
# What others think. Nothing here tells whether the writer agrees.
REPORTS: tuple[str, ...] = (
    "{relative} called it {adjective}, but {they} says that about everything.",
    "{relative} said that {side} {be} {adjective}.",
    "{relative} said that {side} {be} not {adjective}.",
    "{relative} {verb} it.",
    "{relative} didn't {base} it.",
    "one reviewer called it {a} {noun}.",
    "one reviewer wrote that {side} {be} anything but {adjective}.",
    "somebody in a forum [finds/found] {side} {adjective}.",
    "a colleague had told me that {side} {be} {adjective}.",
    "the local paper wrote that it [is/was] hardly {a} {noun}.",
    "according to {relative}, it [is/was] {a} {whole_adjective} {item}.",
    "my friends are divided: one {verb} it, the other has no opinion.",
)
# Sentences without opinion that fit everything.
FACTS: tuple[str, ...] = (
    "I write this on a {day} in {month}.",
    "This is my {nth} review here.",
    "{relative} told me about it in {month}.",
    "I live in {place} and work in an office.",
    "I had read about it in a newspaper from {place}.",
    "Nobody paid me to write this.",
    "I am not from {place} myself.",
    "I never write long texts.",
    "Some of this may change next {month}.",
    "{relative} is {n} years older than me and lives in {place}.",
    "I made some notes on the way home.",
    "A friend from {place} asked me to write a few lines on it.",
    "This was in {month}, so it is not long ago.",
    "I moved here from {place} in {month}.",
    "It was not my idea; {relative} had read about it.",
    "There is no picture with this review.",
    "I had {n} minutes to write this on the train to {place}.",
    "I have two children and a {colour} bicycle.",
    "On {day} I told {relative} about it.",
    "I hardly ever come to {place}.",
    "My name is not {person}, but I use it here.",
    "It took me until {day} to write this down.",
)
TITLES: tuple[str, ...] = (
    "The {adjective} {thing}",
    "{a} {adjective} {thing}",
    "The {noun} of {place}",
    "My {adjective} {thing}",
    "No {adjective} {thing}",
)
VERY: tuple[str, ...] = ("", "", "", "truly ", "really ", "genuinely ", "absolutely ")

RELATIVES: tuple[tuple[str, str], ...] = (
    *((f"my {kin}", "he") for kin in ("brother", "father", "uncle", "boss", "nephew", "flatmate")),
    *(
        (f"my {kin}", "she")
        for kin in ("sister", "mother", "aunt", "niece", "neighbour", "dentist")
    ),
)
PERSONS: tuple[str, ...] = (
    *("Anna Berg", "Tom Okoro", "Lena Duarte", "Igor Malin", "Ruth Vance", "Paul Ekman"),
    *("Mira Sato", "Omar Haddad", "Clara Wood", "Jonas Lind", "Eva Prior", "Sam Tully"),
    *("Nadia Kern", "Hugo Brand", "Iris Moss", "Victor Lane", "Greta Holt", "Ali Demir"),
)
PLACES: tuple[str, ...] = (
    *("Lisbon", "Oslo", "Leeds", "Turin", "Ghent", "Porto", "Kyoto", "Lagos", "Quito", "Tampere"),
    *("Halifax", "Cork", "Basel", "Riga", "Malmö", "Nantes", "Split", "Bergen", "Perth", "Graz"),
)
MONTHS: tuple[str, ...] = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
DAYS: tuple[str, ...] = (
    *("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
)
COLOURS: tuple[str, ...] = ("red", "green", "blue", "grey", "yellow", "white", "black", "brown")
NUMBERS: tuple[str, ...] = (
    "three",
    "four",
    "six",
    "seven",
    "9",
    "12",
    "14",
    "20",
    "25",
    "30",
    "48",
)
ORDINALS: tuple[str, ...] = ("second", "third", "fifth", "tenth", "twentieth")
THINGS: tuple[str, ...] = (
    *(
        "winter",
        "stranger",
        "garden",
        "harbour",
        "letter",
        "summer",
        "night",
        "journey",
        "neighbour",
    ),
    *("island", "orchard", "train", "secret", "year", "painter", "bridge", "voyage", "wedding"),
)
# Slips in words that are no opinion, for difficult sets.
SLIPS: dict[str, str] = {
    "which": "wich",
    "because": "becuase",
    "friends": "freinds",
    "evening": "evning",
    "really": "realy",
    "truly": "truely",
    "absolutely": "absolutly",
    "genuinely": "genuinly",
    "about": "abuot",
    "there": "ther",
    "first": "frist",
    "second": "secnd",
    "with": "wiht",
    "from": "form",
    "would": "woud",
    "called": "caled",
    "between": "betwen",
    "minutes": "minuts",
    "until": "untill",
    "together": "togehter",
    "station": "staton",
}
