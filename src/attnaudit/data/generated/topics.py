"""What generated reviews are about: things, their sides, and sentences without an opinion on them.

In `facts` and `asides` a name in braces is filled in: `{n}` a number, `{person}`, `{place}`,
`{month}`, `{day}`, `{colour}`, `{who}` somebody close to the writer, and in asides `{adjective}`,
`{noun}` and `{title}`, which hold words of opinion that are about something else.
"""

from __future__ import annotations

from dataclasses import dataclass

from attnaudit.data.generated.opinions import Words, words_of


@dataclass(frozen=True)
class Side:
    """Sides of a thing that take the same adjectives; a star marks a plural."""

    names: tuple[str, ...]
    adjectives: Words


@dataclass(frozen=True)
class Topic:
    """A kind of thing that is reviewed.

    Attributes:
        items: Words for the thing.
        past: Whether one tells of it in the past (a meal) or in the present (a film).
        sides: What can be praised or blamed about it.
        adjectives: For the thing as a whole.
        moment: What one had every or not one of: minute, page, bite.
        doers: Clauses that an adverb completes.
        facts: Sentences without opinion.
        asides: Sentences whose opinion is about something else.
    """

    items: tuple[str, ...]
    past: bool
    sides: tuple[Side, ...]
    adjectives: Words
    moment: str
    doers: tuple[str, ...]
    facts: tuple[str, ...]
    asides: tuple[str, ...]


def _side(names: str, adjectives: Words | None = None) -> Side:
    return Side(tuple(names.split("|")), adjectives or Words((), ()))


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


_STORY = words_of(
    "gripping moving witty touching inventive clever thrilling",
    "boring dull predictable tedious shallow contrived lifeless",
    "poignant riveting",
    "hackneyed ponderous",
)
_FOOD = words_of(
    "delicious tasty flavourful mouth-watering scrumptious",
    "bland soggy stale greasy tasteless overcooked inedible",
    "delectable luscious",
    "rancid unpalatable",
)
_SERVICE = words_of(
    "friendly attentive courteous polite helpful",
    "rude careless inattentive grumpy unhelpful",
    "gracious obliging",
    "surly brusque",
)
_ROOM = words_of(
    "spotless comfortable cosy elegant restful",
    "filthy shabby uncomfortable musty grubby",
    "immaculate sumptuous",
    "squalid dingy",
)
_DEVICE = words_of(
    "reliable snappy responsive sturdy dependable",
    "sluggish flimsy unreliable unresponsive clunky",
    "nimble robust",
    "rickety laggy",
)
_MUSIC = words_of(
    "catchy soulful infectious memorable uplifting",
    "monotonous bland dreary repetitive grating",
    "mellifluous haunting",
    "plodding tuneless",
)

FILM = Topic(
    items=("film", "movie", "picture"),
    past=False,
    sides=(
        _side(
            "the plot|the script|the dialogue|the ending|the story|the jokes*|the opening", _STORY
        ),
        _side("the acting|the camera work|the soundtrack|the costumes*|the editing|the lighting"),
        _side("the lead actor|the supporting cast|the director|the special effects*"),
    ),
    adjectives=_STORY,
    moment="minute",
    doers=("the cast acts", "the lead actress plays her part", "the two leads work together"),
    facts=_lines("""
        It runs for {n} minutes more than two hours.
        It was shot in {place} and {place}.
        The story begins in {month} and ends in {month}.
        {person} plays the captain of a ship.
        {person} wrote the script together with {person}.
        The director is {person}, who also made documentaries for television.
        I saw it in a small cinema in {place}.
        We watched it on a {day} evening with {who}.
        There are no subtitles in the version that I saw.
        The first part is set in {place}, the second at sea.
        It opened in {month} on {n} screens.
        I have not read the book that it is based on.
        Most scenes take place in a {colour} house by the river.
        The main role went to {person}, a dancer from {place}.
        It is the third part of a series.
    """),
    asides=_lines("""
        It tells of {a} {adjective} clerk who moves to {place}.
        The last film I saw in that cinema was {adjective}.
        It was shown together with "{title}", a short film.
        The hero believes that he is {a} {adjective} poet.
        In one scene {a} {adjective} storm keeps everybody on the island.
        {person} became known with the comedy "{title}".
        The popcorn was {adjective}, by the way.
    """),
)
BOOK = Topic(
    items=("book", "novel"),
    past=False,
    sides=(
        _side("the plot|the story|the ending|the dialogue|the first half|the characters*", _STORY),
        _side("the prose|the translation|the pacing|the chapters on the war*|the preface"),
        _side("the drawings*|the cover|the cast of characters|the research behind it"),
    ),
    adjectives=_STORY,
    moment="page",
    doers=("the author writes", "the author handles the dialogue", "the threads come together"),
    facts=_lines("""
        It has {n} chapters and a map at the front.
        The story is set in {place} between {month} and {month}.
        It was translated by {person}.
        The narrator is a {colour}-haired sailor called {person}.
        I read it on the train from {place} to {place}.
        I borrowed it from {who}.
        It was first published in {month} in two volumes.
        There is no index.
        I have not read the author's other books.
        The author grew up in {place} and worked as a teacher.
        Each chapter is told by another member of the family.
        {who} gave it to me in {month}.
        The paperback has a {colour} cover.
        The letters in the last part were written by {person}.
        A second edition came out in {month}.
    """),
    asides=_lines("""
        It tells of {a} {adjective} winter in {place}.
        The novel that I read before this one was {adjective}.
        The author is better known for "{title}".
        The narrator grows up with {a} {adjective} uncle.
        In the second chapter somebody bakes {a} {adjective} cake.
        The hero dreams of {a} {adjective} journey and never leaves {place}.
        It was next to "{title}" on the shelf.
    """),
)
RESTAURANT = Topic(
    items=("restaurant", "place"),
    past=True,
    sides=(
        _side("the food|the soup|the fish|the pasta|the dessert|the starters*|the bread", _FOOD),
        _side("the vegetables*|the sauce|the salad|the rice|the pie", _FOOD),
        _side("the service|the staff|the waiters*|the owner", _SERVICE),
        _side("the wine list|the music|the view|the coffee|the set menu"),
    ),
    adjectives=words_of(
        "cosy welcoming inviting friendly", "filthy overpriced unwelcoming shabby", "", "dingy"
    ),
    moment="bite",
    doers=("the waiters looked after us", "the cook seasoned the fish", "the kitchen worked"),
    facts=_lines("""
        We were there on a {day} in {month}.
        The table was by the window.
        I went there with {who}.
        We did not book a table.
        There is no parking in front of the house.
        The menu had {n} dishes on one page.
        It is on the corner of the market square in {place}.
        I had the fish and {who} had the lamb.
        The owner is from {place}.
        It opens at six and closes at midnight.
        We paid by card and left after two hours.
        The walls are painted {colour}.
        Our waiter was called {person}.
        There were {n} other guests.
        We had come straight from the station.
    """),
    asides=_lines("""
        The bar next door was {adjective}, so we did not stay there.
        We had {a} {adjective} meal somewhere else the day before.
        On the wall was a poster of the play "{title}".
        The people at the next table talked about {a} {adjective} holiday.
        The walk to the station was {adjective}.
        The place that used to be here was {a} {noun}.
        {who} had told us about {a} {adjective} day at work.
    """),
)
HOTEL = Topic(
    items=("hotel", "place"),
    past=True,
    sides=(
        _side("the room|the bed|the bathroom|the lobby|the beds*|the sofa", _ROOM),
        _side("the service|the staff|the receptionist|the porters*", _SERVICE),
        _side("the breakfast|the dinner", _FOOD),
        _side("the pool|the view|the garden|the terrace|the sauna|the location"),
    ),
    adjectives=_ROOM,
    moment="night",
    doers=("the staff looked after us", "the rooms were cleaned", "the bar was run"),
    facts=_lines("""
        We stayed for {n} nights in {month}.
        The hotel has {n} rooms on three floors.
        It is ten minutes on foot from the harbour of {place}.
        Our room was on the second floor.
        There is no lift.
        We did not use the pool.
        I shared the room with {who}.
        Breakfast was served from seven to ten.
        The curtains were {colour}.
        The man at the desk was called {person}.
        We had booked it through a travel agent in {place}.
        The bus to the airport stopped in front of the door.
        We arrived on a {day} evening and left on a {day}.
        The building used to be a post office.
        The key was a plastic card.
    """),
    asides=_lines("""
        We were in town for a conference, and the talks were {adjective}.
        The flight from {place} was {adjective}.
        The weather was {adjective} all week.
        The other hotel in that street was {adjective}, which we know from last year.
        The couple in the next room had {a} {adjective} party.
        In the lobby they were showing "{title}" on a screen.
        The museum that we went to see was {a} {noun}.
    """),
)
PHONE = Topic(
    items=("phone", "handset"),
    past=False,
    sides=(
        _side("the screen|the software|the keyboard|the camera|the buttons*|the case", _DEVICE),
        _side("the battery|the charger|the menus*|the fingerprint reader", _DEVICE),
        _side("the speaker|the sound|the design|the pictures it takes*|the price"),
    ),
    adjectives=_DEVICE,
    moment="minute",
    doers=("the camera works in the dark", "the buttons work", "the touch screen works"),
    facts=_lines("""
        I bought it in {month} in a shop in {place}.
        It weighs {n} grams more than my old one.
        It comes in {colour} and {colour}.
        There is no socket for headphones.
        I have not tried the video function.
        The box holds a charger and a cable of {n} feet.
        I use it for calls and for the map.
        It has two slots for cards.
        {who} has the same model in {colour}.
        The screen is {n} percent larger than that of the old model.
        The parcel came on a {day}.
        The menu can be set to {n} languages.
        It was set up by {person} at the shop.
        I carry it in a jacket pocket.
        The manual is in English and in French.
    """),
    asides=_lines("""
        It replaces {a} {adjective} tablet that I had used for years.
        The phone that I had before was {adjective}.
        The first film I watched on it was "{title}".
        The day I bought it the weather was {adjective}.
        {who} bought another brand, and that one was {adjective}.
        I called {who} about {a} {adjective} job offer.
        The shop next to mine was {a} {noun}.
    """),
)
ALBUM = Topic(
    items=("album", "record"),
    past=False,
    sides=(
        _side("the songs*|the melodies*|the choruses*|the first track|the last track", _MUSIC),
        _side("the lyrics*|the vocals*|the production|the guitar playing|the drumming"),
        _side("the sound|the arrangements*|the cover art|the strings*"),
    ),
    adjectives=_MUSIC,
    moment="minute",
    doers=("the band plays", "the singer phrases", "the two voices blend"),
    facts=_lines("""
        It has {n} tracks and lasts for forty minutes.
        It was recorded in {place} in {n} days.
        {person} plays the bass on most tracks.
        The band comes from {place}.
        I heard it in the car with {who}.
        There are no drums on the second side.
        I have not seen them on stage.
        It came out in {month} on a small label.
        The singer used to work in a bakery in {place}.
        The sleeve is {colour}.
        The third track is sung by {person}.
        The tour begins in {month} in {place}.
        It was mixed by {person}.
        I bought it on a {day} at the market.
        A choir of {n} children sings on one track.
    """),
    asides=_lines("""
        The words of the first track tell of {a} {adjective} summer in {place}.
        Their support band last year was {adjective}.
        One track is called "{title}".
        The concert that I saw on {day}, by another band, was {adjective}.
        The singer says in an interview that school was {a} {noun}.
        In the third track {a} {adjective} father leaves the house.
        {who} plays in {a} {adjective} brass band.
    """),
)
GAME = Topic(
    items=("game",),
    past=False,
    sides=(
        _side("the story|the missions*|the puzzles*|the levels*|the ending", _STORY),
        _side("the controls*|the menus*|the online mode", _DEVICE),
        _side("the graphics*|the music|the voice acting|the tutorial|the enemies*"),
    ),
    adjectives=_STORY,
    moment="minute",
    doers=("the controls work", "the levels are built", "the music fits the scenes"),
    facts=_lines("""
        It takes {n} hours to finish the main part.
        You play a courier called {person}.
        There are {n} levels in {n} worlds.
        I played it with {who} on a {day} afternoon.
        There is no online mode on the older console.
        I have not tried the hard setting.
        The story starts in a {colour} tower near {place}.
        The studio is in {place}.
        It came out in {month}.
        You can save at any time.
        The map shows {n} villages and a lake.
        The text was written by {person}.
        The second world is under water.
        The download took {n} minutes.
        Two people can play on one screen.
    """),
    asides=_lines("""
        You play {a} {adjective} wizard who has lost his hat.
        The game that I finished before this one was {adjective}.
        The same studio made "{title}" some years ago.
        The king in the story has {a} {adjective} son.
        My internet connection was {adjective} that evening.
        In the second world {a} {adjective} dragon guards the bridge.
        The chair I sat in was {a} {noun}, but that is another matter.
    """),
)
MUSEUM = Topic(
    items=("museum", "collection"),
    past=True,
    sides=(
        _side("the tour|the films on display*|the audio guide|the exhibition", _STORY),
        _side("the guides*|the staff|the woman at the desk", _SERVICE),
        _side("the paintings*|the garden|the labels*|the shop|the building|the lighting"),
    ),
    adjectives=words_of(
        "inspiring fascinating absorbing inventive",
        "boring dull tedious overcrowded",
        "enthralling",
        "fusty",
    ),
    moment="minute",
    doers=("the guide spoke", "the rooms were laid out", "the paintings were lit"),
    facts=_lines("""
        We went there on a {day} morning in {month}.
        There are {n} rooms on two floors.
        Most of the paintings are from {place}.
        The guide was called {person}.
        I went with {who} and two friends.
        We did not see the upper floor.
        There is no café.
        A ticket costs {n} euros.
        The museum is behind the town hall of {place}.
        The collection was left to the town by {person}.
        The walls are {colour} and the floor is of stone.
        It closes at five on a {day}.
        The tour took {n} minutes.
        We came by tram from the station.
        One room is about ships and one about clocks.
    """),
    asides=_lines("""
        The café across the street was {adjective}.
        The largest painting is called "{title}".
        One room is about {a} {adjective} war.
        We had {a} {adjective} lunch in the park.
        The painter is said to have been {a} {adjective} father.
        The tram ride was {adjective}.
        The zoo, where we went the day before, was {a} {noun}.
    """),
)
TOPICS: dict[str, Topic] = {
    "film": FILM,
    "book": BOOK,
    "restaurant": RESTAURANT,
    "hotel": HOTEL,
    "phone": PHONE,
    "album": ALBUM,
    "game": GAME,
    "museum": MUSEUM,
}
