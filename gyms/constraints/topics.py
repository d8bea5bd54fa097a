"""What the procedural prompts are about: topics with the words that belong to them and sentences to build gold from.

Every sentence names its topic, stands by itself, and has neither comma, digit nor exclamation mark, so that any choice
and order of sentences is a text on the topic which most instructions can be laid over.
"""

from __future__ import annotations

from dataclasses import dataclass

from gyms.constraints.wordlists import split_words

__all__ = ["TOPICS", "Topic"]


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic."""

    name: str
    """As prompts name it, e.g. "a river"."""
    words: tuple[str, ...]
    """Words of which an honest response has at least one (or a form of it)."""
    sentences: tuple[str, ...]
    """Sentences for gold responses."""


_TEXT = """
a river: river water stream bank flow fish boat bridge current valley
The river begins as a small stream in the hills. Cold water runs over smooth stones near the bank. Fish rest in the
shade of an old bridge. A boat drifts with the current after the rain. Children throw pebbles into the slow stream
at noon. Farmers along the valley wait for the spring flow. Birds drink from the river when the sun goes down. Every
stream in this land ends in the sea.

a garden: garden flower plant soil seed rose bee leaf tree grow
My garden wakes up when the first warm days arrive. Dark soil holds the seeds through a long winter. Bees visit each
flower and carry the dust along. An old rose climbs over the wooden gate. Fresh leaves appear on the apple tree in
April. Good plants need light and a little patience. We grow beans beside the kitchen window. Some flowers open only
after the sun is gone.

a train journey: train station rail track window conductor ticket seat travel platform
The train leaves the station just before dawn. A conductor checks each ticket with a kind smile. Green fields move
past the window like a slow film. My seat faces the front and catches the light. Old tracks sing under the heavy
wheels. People travel home with bags full of gifts. Someone waves from the empty platform in the rain. Long rail
trips give you time to think.

a cat: cat kitten paw tail fur purr whisker mouse claw
Our cat sleeps on the warm stove all afternoon. Her tail moves whenever a bird lands outside. One white paw hangs
over the edge of the chair. The kitten chases a ball of red wool. Soft fur covers every jacket in this house. A
mouse would not live long under our roof. She begins to purr before the door is open. Long whiskers tell her how
wide a gap is.

the sea: sea wave ocean beach salt sand shore tide ship sail
The sea changes its color many times a day. Waves roll in and erase our steps from the sand. A ship crosses the line
between water and sky. Salt dries on our skin after a long swim. At low tide the children look for crabs. Old
sailors can read the ocean like a book. Strong wind pushes the tall sails to the east. Every evening the shore grows
quiet and cool.

baking bread: bread dough flour oven bake yeast crust loaf baker
Good bread needs only flour and water and time. The dough rests under a cloth until it doubles. A hot oven makes the
crust thin and crisp. Yeast turns sugar into tiny bubbles of air. My grandmother could bake without any recipe.
Fresh loaves cool on a rack by the open door. Every baker in town starts work before sunrise. Warm bread tastes best
with a little butter.

winter: winter snow ice cold frost fire coat sled freeze
Snow covers the roofs and softens every sound. Children pull a sled up the hill behind the school. Frost draws white
ferns on the kitchen window. In winter we read by the fire until late. A thick coat keeps the cold wind away. Ice on
the pond can carry a grown man. Rivers freeze slowly from the banks inward. The first snow always feels like a small
gift.

a library: library book shelf read page story librarian quiet desk
The library opens its heavy doors at nine. Tall shelves reach almost to the painted ceiling. A student turns the
pages without any sound. Each book smells of paper and old glue. The librarian knows where every story hides. Two
friends share one desk near the window. People come here to read while it rains. Some books wait for years to be
opened.

a farm: farm cow field barn farmer hay milk horse egg harvest
The farm lies at the end of a dusty road. Brown cows walk to the barn when evening comes. A farmer looks at the sky
before he cuts the hay. Fresh milk waits in a cool stone room. Hens hide their eggs in the strangest places. Two
horses pull the cart across the field. Harvest brings the whole village together. Life on a farm follows the light
of the sun.

music: music song piano melody drum guitar sing concert note
Music fills the small room above the shop. She plays an old song on her brother's piano. A drum keeps the dancers in
time. My uncle tunes his guitar before each concert. One simple melody can stay with you for years. We sing together
when the work is done. Soft notes travel far on a still night. The best concert I know took place in a barn.

the moon: moon night sky crater orbit star lunar moonlight tide
The moon follows our planet like a loyal dog. Dark craters cover the side that we can see. Its pull lifts the tide
along every coast. Moonlight lets the fox find a path through the snow. One orbit takes a little less than a month.
Night hunters wait until the sky is dark. Few stars can shine as brightly as a full moon. Lunar dust is as fine as
flour.

a dog: dog puppy bark leash tail walk bone park fetch
The dog waits at the gate until school is over. Our puppy has chewed another pair of shoes. A long walk makes both
of us happy. He barks at the mail but never at a thief. She buries her bone under the same tree each time. His tail
tells you more than most people do. In the park the big dogs play with the small ones. No leash is long enough for a
curious nose.

a market: market stall fruit vendor price basket cheese buy sell apple
The market fills the square before the bells ring. Each vendor calls out a better price than the last. Ripe fruit
shines under striped cloth roofs. She puts three apples into her basket. An old man sells cheese from his own goats.
We buy bread at the stall by the fountain. By noon the best apples are gone. Nobody leaves the market with empty
hands.

a bicycle: bicycle bike wheel pedal ride chain road helmet brake cycle
My bicycle is older than my little sister. A clean chain makes the ride quiet and smooth. The front wheel turns even
when nobody pedals. I ride to work along the narrow canal. Good brakes matter more than a fast start. Her bike
carries two bags and a small flag. On wet roads every turn needs care. A helmet sits on the hook beside the door.

a mountain: mountain peak hike climb trail rock summit valley snow
The mountain hides its peak behind a grey cloud. A narrow trail leads from the lake to the hut. Loose rock makes the
last hour slow. We climb early because the storms come late. From the summit you can see three countries. Snow stays
in the shade until July. Goats hike better than any of us. Down in the valley a church bell rings.

rain: rain cloud umbrella storm puddle wet drop roof thunder
Rain taps on the roof like many small fingers. Dark clouds gather over the hills at noon. She forgot her umbrella on
the bus again. A puddle shows the whole street upside down. Thunder rolls far away and then comes near. Wet leaves
stick to the soles of my boots. The storm leaves the air clean and bright. One last drop falls from the edge of the
roof.

coffee: coffee cup bean roast brew espresso aroma milk
Coffee wakes the house before the alarm does. Dark beans fill the kitchen with a rich aroma. She drinks her first
cup by the window. A slow roast brings out notes of chocolate. My father likes to brew it in an old pot. Warm milk
turns the espresso soft and sweet. One cup is enough for a short night. Good coffee needs fresh water and a steady
hand.

a school: school teacher student class lesson classroom learn pupil
The school stands between a church and a park. Our teacher draws a map on the board. Every student brings one
question to the class. A good lesson ends with more ideas than it began. New pupils find a friend within a week. We
learn to count with stones and shells. The classroom smells of chalk and wet coats. After school the yard grows loud
with games.

a forest: forest tree oak deer moss leaf wood path fox pine
The forest is never as silent as it seems. Old oaks shade the path to the spring. Green moss covers the north side
of each stone. A deer lifts its head and listens. Pine needles make a soft floor for our tents. The fox knows every
hole under the roots. Autumn leaves fall on trees that fell long ago. Deep in the wood a bird repeats one call.

a kitchen: kitchen cook pan soup stove table spoon pot knife recipe
The kitchen is the warmest room we have. A pot of soup stands on the stove since morning. My brother can cook three
meals and no more. Sharp knives hang above the wooden table. She stirs the sauce with a silver spoon. Each recipe in
the box has a stain. The old pan belonged to our great aunt. Friends always end up in the kitchen at parties.
"""


def _topic(paragraph: str) -> Topic:
    head, _, body = paragraph.partition("\n")
    name, _, words = head.partition(": ")
    sentences = (" ".join(split_words(sentence)) + "." for sentence in body.split(".") if sentence.strip())
    return Topic(name=name, words=tuple(split_words(words)), sentences=tuple(sentences))


TOPICS: tuple[Topic, ...] = tuple(map(_topic, _TEXT.strip().split("\n\n")))
"""A paragraph each: name and words, then the sentences."""
