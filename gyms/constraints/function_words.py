"""Which language a short sentence is written in, told by its small words and its letters.

A detector of character runs needs a paragraph: it takes "La mer est calme" for Catalan. Articles, pronouns, forms of
"to be" and greetings name a language in four words, and so do letters that few languages have. The lists are closed
classes, not dictionaries, and hold what is frequent in short sentences; words that two languages share count for both.

Left out: languages that their script alone proves.
"""

# ruff: noqa: RUF001  # letters that look like Latin ones are what this file is about

from __future__ import annotations

import re

from gyms.constraints.wordlists import split_words

__all__ = ["small_words"]

_BREAK = re.compile("[\\s.,;:!?\u00a1\u00bf\u060c\u061f\u0964'\"\u2019\u2018\u201c\u201d\u00ab\u00bb()-]+")
"""What stands between words; not `\\W`, to which the vowel signs of Indian scripts belong."""

_LISTS = {
    "af": "die n is nie en ek jy ons hulle julle my jou sy het van vir met op waar wat hoe dit was baie goeie "
    "dankie kan",
    "ca": "el la els les un una és i de que no em amb per on com sóc estic està som tinc molt bon bona gràcies meu "
    "meva avui els al del hi ha",
    "cs": "je jsem jsi jsou a na se v ve to že ne si kde jak co dnes má mám můj moje s z do dobrý den děkuji ahoj "
    "velmi jste prší byl byla",
    "cy": "mae yn y yr a i ar ble beth sut rydw ydy ydw ti chi fy o heddiw bore da diolch yw wedi dw ni",
    "da": "er det en et og jeg du vi ikke i på til af med hvor hvad hvordan har min mit dag den de at hun han meget "
    "tak hej spiser mig dig",
    "de": "der die das ein eine einen ist sind war und ich du er sie wir ihr nicht in im auf zu mit von wo was wie "
    "habe hat mein meine dem den des es heute guten danke hallo sehr für bin bist geht dir liebe",
    "en": "the a an is are was and i you he she we they not in on to of with where what how have has my it this "
    "that good thank hello very for today am your",
    "es": "el la los las un una es está son y yo tú él ella no en a de con por qué que dónde cómo tengo tiene mi "
    "hoy buenos buenas gracias hola muy al del se estás su le lo hace nos",
    "et": "on ja ma sa ta me ei see kus mis kuidas minu täna tere aitäh väga olen oled mul meie sinu kui ka",
    "fi": "on ja minä sinä hän me ei se missä mikä mitä miten minun tänään hei kiitos hyvää hyvä olen olet ovat "
    "kuka ole",
    "fr": "le la les l un une est sont et je j tu il elle nous vous ne pas dans en à a de d du des avec où qu que "
    "quoi comment ai mon ma ce c aujourd hui bonjour bonsoir merci très sur au t m s suis es allez fait chat",
    "hr": "je sam si smo su i na se u to da ne gdje kako što danas ima imam moj moja s od do dobar dan hvala bok "
    "vrlo jako pada ste mi",
    "hu": "a az egy és nem van vagyok hol mi hogy én te ő ma köszönöm jó napot szia nagyon is meg szeretem ez mit "
    "vagy",
    "id": "saya kamu anda dia kami kita di ke dari yang ini itu dan tidak adalah ada apa mana bagaimana dengan "
    "selamat terima kasih hari sangat sedang untuk akan minum makan",
    "it": "il lo la i gli le un una è sono e io tu lui lei non in a di con per che dove come ho ha mio mia oggi "
    "buongiorno buonasera grazie ciao molto nel al del sul sulla della stai si piove questo legge abbiamo",
    "lt": "yra ir aš tu jis ji mes ne kur kas kaip mano šiandien labas ačiū labai esu su ant į iš tai",
    "lv": "ir un es tu viņš viņa mēs nav kur kas kā mans mana šodien labdien paldies ļoti esmu ar uz no tas",
    "nl": "de het een is zijn was en ik jij je hij zij wij we niet in op te met van waar wat hoe heb heeft mijn dit "
    "dat vandaag goede goeden dank hallo erg zeer voor ben gaat naar er",
    "no": "er det en et og jeg du vi ikke i på til av med hvor hva hvordan har min mitt dag den de å hun han veldig "
    "takk hei spiser meg deg",
    "pl": "jest są i w we na się to że nie ja ty on ona my gdzie jak co dziś dzisiaj mam ma mój moja z do dzień "
    "dobry dziękuję cześć bardzo pada jestem mi lubię śpi masz",
    "pt": "o a os as um uma é está são e eu você ele ela nós não em no na de do da com por que onde como tenho tem "
    "meu minha hoje bom boa olá obrigado obrigada muito ao se lê dorme estás chove seu",
    "ro": "este sunt și un o la în nu eu tu el ea noi de cu pe unde ce cum am are meu mea azi astăzi bună ziua "
    "mulțumesc foarte să se pentru din",
    "sk": "je som si sú a na sa v vo to že nie kde ako čo dnes má mám môj moja s z do dobrý deň ďakujem ahoj veľmi "
    "ste prší",
    "sl": "je sem si smo so in na se v to da ne kje kako kaj danes ima imam moj moja s z od do dober dan hvala zelo "
    "ste mi",
    "so": "waa waxaan ka ku iyo uu ay aan ma maxaa sidee xagee waxa la u soo ah baa maanta mahadsanid",
    "sq": "është jam je janë dhe unë ti ai ajo ne nuk në me për ku çfarë si një im ime sot mirë faleminderit shumë "
    "të e i po që",
    "sv": "är det en ett och jag du vi inte i på till av med var vad hur har min mitt dag den de att hon han mycket "
    "tack hej idag äter mig dig om",
    "sw": "ni na ya wa kwa katika la za mimi wewe yeye sisi si hii huyu wapi nini gani habari asante leo sana yangu "
    "wangu kuna cha vya",
    "tl": "ang ng mga sa na ako ikaw siya kami tayo hindi ay si ito iyan saan ano paano ko mo po may magandang "
    "salamat ngayon napaka at ka",
    "tr": "bir ve ben sen o biz siz değil bu şu nerede ne nasıl var yok benim çok bugün merhaba teşekkür günaydın "
    "için ile de da mi mı nasılsın seni hava",
    "vi": "là và tôi bạn anh chị em chúng không ở trong trên của với cho đâu gì thế nào có rất hôm nay xin chào cảm "
    "ơn một này đó đang các những",
    "bg": "ми е съм си са и аз ти той тя ние не в във на от с със за къде какво как имам има моят моята днес добър "
    "добро ден благодаря здравей много се да това",
    "mk": "ми е сум си се и јас ти тој таа ние не во на од со за каде што како имам има мојот мојата денес добар "
    "ден благодарам здраво многу ова",
    "ru": "и я ты он она мы вы не в во на от с за где что как есть мой моя сегодня добрый добрая день спасибо "
    "привет очень это у меня по дела к",
    "uk": "є і й я ти він вона ми ви не в у на від з за де що як мій моя сьогодні добрий день дякую привіт дуже це "
    "мене до по та справи",
    "ar": "في من على إلى هو هي أنا أنت نحن هذا هذه لا ما أين كيف ماذا مع كان شكرا مرحبا جدا اليوم هل ليس حالك "
    "السلام عليكم",
    "fa": "است در از به با من تو او ما شما این آن را نیست کجا چه چطور امروز سلام متشکرم خیلی که و هستم هستید می",
    "ur": "ہے ہیں میں کا کی کے سے کو پر اور یہ وہ ہم آپ نہیں کہاں کیا کیسے آج شکریہ بہت ہوں نے میرا میری",
    "hi": "है हैं में का की के से को पर और यह वह मैं हम आप नहीं कहाँ क्या कैसे आज धन्यवाद बहुत हूँ ने मेरा मेरी रहा "
    "रही नमस्ते",
    "mr": "आहे आहेत मी तू तो ती आम्ही नाही मध्ये आणि हा ही हे कुठे काय कसे आज धन्यवाद खूप चा ची चे ला माझा माझी "
    "नमस्कार",
    "ne": "छ छन् हो हुन् म तपाईं ऊ हामी होइन मा र को का की ले लाई यो त्यो कहाँ के कसरी आज धन्यवाद धेरै मेरो छैन",
}  # fmt: skip
_SMALL = {language: frozenset(split_words(words)) for language, words in _LISTS.items()}
_LETTERS_OF = (
    "cs řůě / de ß / es ñ¿¡ / et õ / fr çœùêî / hu őű / lt ėįų / lv ļņģķ / mk ѓќѕљњџј / pl łśźż / pt ãõ / ro ățș / "
    "ru ыэё / sk ľĺŕô / sq ë / tr ğış / uk іїєґ / vi ơưđạảấầẩậắặẹẻếềểệịọỏốồổộớờởợụủứừửựỳỷ / fa پچگژ / ur ٹڈڑےںھہ"
)
_LETTERS = dict(map(split_words, _LETTERS_OF.split("/")))
"""Letters that this language has and that its neighbours lack; one of them counts as much as a small word."""


def small_words(text: str) -> dict[str, int]:
    """Language -> how many of its small words (each once), and whether any of its letters, stand in a text.

    Languages that nothing speaks for are left out.
    """
    low = text.lower()
    words = set(_BREAK.split(low))
    found = {language: len(words & small) for language, small in _SMALL.items()}
    for language, letters in _LETTERS.items():
        found[language] += any(letter in low for letter in letters)
    return {language: count for language, count in found.items() if count}
