"""Short texts are told by their small words: one plain sentence is enough in every language that is offered."""

# ruff: noqa: RUF001  # letters that look like Latin ones are what these tests are about

import pytest

from gyms.constraints.language import LANGUAGES, is_language, small_words

SENTENCES = {
    "af": ["Die water is koud.", "My broer lees 'n boek.", "Waar is die stasie?"],
    "ar": ["الماء بارد.", "أخي يقرأ كتابا.", "أين المحطة؟"],
    "bg": ["Водата е студена.", "Брат ми чете книга.", "Къде е гарата?"],
    "bn": ["পানি ঠান্ডা।"],
    "ca": ["L'aigua és freda.", "El meu germà llegeix un llibre.", "On és l'estació?"],
    "cs": ["Můj bratr čte knihu.", "Kde je nádraží?", "Dobrý večer, jak se jmenuješ?"],
    "cy": ["Mae'r dŵr yn oer.", "Mae fy mrawd yn darllen llyfr.", "Ble mae'r orsaf?"],
    "da": ["Min bror læser en bog.", "Hvor er stationen?", "Vi spiser brød med ost."],
    "de": ["Das Wasser ist kalt.", "Mein Bruder liest ein Buch.", "Wo ist der Bahnhof?", "Wir essen Brot mit Käse."],
    "el": ["Το νερό είναι κρύο."],
    "en": ["The water is cold.", "My brother reads a book.", "Where is the station?"],
    "es": ["El agua está fría.", "Mi hermano lee un libro.", "¿Dónde está la estación?", "Hoy llueve mucho."],
    "et": ["Vesi on külm.", "Mu vend loeb raamatut.", "Kus on jaam?"],
    "fa": ["آب سرد است.", "ایستگاه کجاست؟"],
    "fi": ["Vesi on kylmää.", "Veljeni lukee kirjaa.", "Missä on asema?"],
    "fr": ["L'eau est froide.", "Mon frère lit un livre.", "Où est la gare ?", "Nous mangeons du pain.", "Il pleut."],
    "gu": ["પાણી ઠંડું છે."],
    "he": ["המים קרים."],
    "hi": ["पानी ठंडा है।", "मेरा भाई किताब पढ़ता है।", "स्टेशन कहाँ है?"],
    "hr": ["Voda je hladna.", "Moj brat čita knjigu.", "Gdje je kolodvor?"],
    "hu": ["A víz hideg.", "A bátyám könyvet olvas.", "Hol van az állomás?"],
    "id": ["Airnya dingin sekali.", "Saudara saya membaca buku.", "Di mana stasiun itu?"],
    "it": ["L'acqua è fredda.", "Mio fratello legge un libro.", "Dov'è la stazione?", "Mangiamo pane e formaggio."],
    "ja": ["水は冷たいです。", "駅はどこですか。"],
    "kn": ["ನೀರು ತಂಪಾಗಿದೆ."],
    "ko": ["물이 차갑다.", "역이 어디예요?"],
    "lt": ["Vanduo yra šaltas.", "Mano brolis skaito knygą.", "Kur yra stotis?"],
    "lv": ["Ūdens ir auksts.", "Mans brālis lasa grāmatu.", "Kur ir stacija?"],
    "mk": ["Водата е ладна.", "Каде е станицата?"],
    "ml": ["വെള്ളം തണുത്തതാണ്."],
    "mr": ["पाणी थंड आहे.", "माझा भाऊ पुस्तक वाचतो.", "स्टेशन कुठे आहे?"],
    "ne": ["पानी चिसो छ।", "मेरो भाइ किताब पढ्छ।", "स्टेशन कहाँ छ?"],
    "nl": ["Het water is koud.", "Mijn broer leest een boek.", "Waar is het station?"],
    "no": ["Vannet er kaldt.", "Min bror leser en bok.", "Hvor er stasjonen?"],
    "pa": ["ਪਾਣੀ ਠੰਡਾ ਹੈ।"],
    "pl": ["Woda jest zimna.", "Mój brat czyta książkę.", "Gdzie jest dworzec?"],
    "pt": ["A água está fria.", "O meu irmão lê um livro.", "Onde fica a estação?", "Comemos pão com queijo."],
    "ro": ["Apa este rece.", "Fratele meu citește o carte.", "Bună seara, cum te cheamă?"],
    "ru": ["Вода холодная.", "Мой брат читает книгу.", "Где находится вокзал?"],
    "sk": ["Voda je studená.", "Môj brat číta knihu.", "Dobrý večer, ako sa voláš?"],
    "sl": ["Voda je hladna.", "Moj brat bere knjigo.", "Kje je postaja?"],
    "so": ["Biyuhu waa qabow."],
    "sq": ["Uji është i ftohtë.", "Vëllai im lexon një libër.", "Ku është stacioni?"],
    "sv": ["Vattnet är kallt.", "Min bror läser en bok.", "Var är stationen?"],
    "sw": ["Maji ni baridi.", "Kaka yangu anasoma kitabu."],
    "ta": ["தண்ணீர் குளிர்ச்சியாக உள்ளது."],
    "te": ["నీరు చల్లగా ఉంది."],
    "th": ["น้ำเย็น", "สถานีอยู่ที่ไหน"],
    "tl": ["Malamig ang tubig.", "Nasaan ang istasyon?"],
    "tr": ["Su çok soğuk.", "Kardeşim kitap okuyor.", "İyi akşamlar, adın ne?"],
    "uk": ["Мій брат читає книгу.", "Де вокзал?", "Сьогодні йде дощ."],
    "ur": ["پانی ٹھنڈا ہے۔", "میرا بھائی کتاب پڑھتا ہے۔", "اسٹیشن کہاں ہے؟"],
    "vi": ["Nước rất lạnh.", "Anh tôi đọc sách.", "Nhà ga ở đâu?"],
    "zh": ["水很冷。", "火车站在哪里？"],
    "zh-cn": ["火车站在哪里？"],
    "zh-tw": ["火車站在哪裡？"],
}


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_a_short_sentence_is_told_by_its_language(language):
    assert [text for text in SENTENCES[language] if not is_language(text, language)] == []


@pytest.mark.parametrize("language", sorted(LANGUAGES - {"en"}))
def test_short_english_passes_for_no_other_language(language):
    english = ["The water is cold.", "Where is the station?", "We have no bread and this is not good for you."]
    assert [text for text in english if is_language(text, language)] == []


@pytest.mark.parametrize("text", ["Paris", "OK", "12:30", "\U0001f600", "la", "Das", "1999"])
@pytest.mark.parametrize("language", ["de", "en", "fr", "ru", "zh"])
def test_a_word_or_a_number_is_no_language(text, language):
    assert not is_language(text, language)


def test_small_words_are_counted_once_and_letters_as_one_more():
    assert small_words("ñ ñ el EL xyzzy")["es"] == 2
    assert small_words("12 ...") == {}
