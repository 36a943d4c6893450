"""Commands to a house and a telephone, with what they ask for (the intent) and about what (the slots)."""

import random
import re

from tasks.embedded_corpus import clock, lexicon, nouns, numerals, words

_MUSIC = words.table("""
    jazz             | Jazz              | du jazz                 | jazz               | 爵士乐
    rock             | Rock              | du rock                 | rock               | 摇滚乐
    pop music        | Popmusik          | de la musique pop       | música pop         | 流行音乐
    classical music  | klassische Musik  | de la musique classique | música clásica     | 古典音乐
    quiet music      | ruhige Musik      | de la musique calme     | música tranquila   | 轻音乐
    my favorite song | mein Lieblingslied | ma chanson préférée    | mi canción favorita | 我最喜欢的歌
    children's songs | Kinderlieder      | des chansons pour enfants | canciones infantiles | 儿歌
""")
_DEVICES = words.table("""
    the light      | das Licht      | la lumière    | la luz          | 灯
    the heating    | die Heizung    | le chauffage  | la calefacción  | 暖气
    the television | den Fernseher  | la télévision | la televisión   | 电视
    the radio      | das Radio      | la radio      | la radio        | 收音机
    the fan        | den Ventilator | le ventilateur | el ventilador  | 电风扇
    the computer   | den Computer   | le ordinateur | el ordenador    | 电脑
""")
_SOUNDS = words.table("""
    the music      | die Musik      | la musique    | la música       | 音乐
    the television | den Fernseher  | la télévision | la televisión   | 电视
    the radio      | das Radio      | la radio      | la radio        | 收音机
""")
_NEWS = words.table("""
    dinner is ready       | das Essen fertig ist     | le dîner est prêt       | la cena está lista       | 晚饭做好了
    the train is late     | der Zug Verspätung hat   | le train a du retard    | el tren llega tarde      | 火车晚点了
    I am at the station   | ich am Bahnhof bin       | je suis à la gare       | estoy en la estación     | 我在火车站
    I am in the office    | ich im Büro bin          | je suis au bureau       | estoy en la oficina      | 我在办公室
    I am coming tomorrow  | ich morgen komme         | je viens demain         | vengo mañana             | 我明天来
    I am at home          | ich zu Hause bin         | je suis à la maison     | estoy en casa            | 我在家
    everything is all right | alles in Ordnung ist   | tout va bien            | todo está bien           | 一切都好
    the concert was good  | das Konzert gut war      | le concert était bon    | el concierto fue bueno   | 音乐会很好
""")
_CHORES = words.table("""
    buy milk          | Milch zu kaufen          | acheter du lait        | comprar leche         | 买牛奶
    buy bread         | Brot zu kaufen           | acheter du pain        | comprar pan           | 买面包
    buy the tickets   | die Tickets zu kaufen    | acheter les billets    | comprar los billetes  | 买票
    clean the kitchen | die Küche zu putzen      | nettoyer la cuisine    | limpiar la cocina     | 打扫厨房
    write the letter  | den Brief zu schreiben   | écrire la lettre       | escribir la carta     | 写信
    water the flowers | die Blumen zu gießen     | arroser les fleurs     | regar las flores      | 浇花
    wash the car      | das Auto zu waschen      | laver la voiture       | lavar el coche        | 洗车
    read the book     | das Buch zu lesen        | lire le livre          | leer el libro         | 看书
    pay the bill      | die Rechnung zu bezahlen | payer la facture       | pagar la factura      | 付账单
""")
_HOURS = words.table("""
    open  | öffnet   | ouvre | abre   | 开门
    close | schließt | ferme | cierra | 关门
""")
_PLACES = nouns.named("museum", "library", "supermarket", "restaurant", "school", "market")
_PLEASE = words.Words("please {do}.", "bitte {do}.", "{do}, s'il te plaît.", "{do}, por favor.", "请{do}。")
_PLAIN = words.Words("{do}.", "{do}.", "{do}.", "{do}.", "{do}。")
_CAN_YOU = words.Words("can you {do}?", "kannst du {do}?", "peux-tu {do} ?", "¿puedes {do}?", "你能{do}吗？")


def _command(
    draw: random.Random, intent: str, do: words.Words, can_you: words.Words, **slots: words.Words
) -> words.Meaning:
    """A command in one of three manners: plain, with please (`do`, imperatives), or as a question (infinitives)."""
    manner = draw.choice((_PLAIN, _PLEASE, _CAN_YOU))
    sentence = words.fill(manner, do=words.fill(can_you if manner is _CAN_YOU else do, **slots))
    return _meaning(intent, sentence, slots)


def _meaning(intent: str, sentence: words.Words, slots: dict[str, words.Words]) -> words.Meaning:
    named = "; ".join(f"{name}={_value(slot.en)}" for name, slot in sorted(slots.items()) if slot.en)
    return words.Meaning(sentence, intent=intent, slots=named)


def _value(english: str) -> str:
    """An English phrase without the words it leans on: "in the kitchen" is "kitchen"."""
    return re.sub(r"^(in the|in|on|at|the|my) ", "", words.phrase(english, "en"))


def play_music(draw: random.Random) -> words.Meaning:
    """Music of some kind in a room."""
    return _command(
        draw,
        "play_music",
        *words.columns("""
            play {music} {room}  | play {music} {room}
            spiel {music} {room} | {room} {music} spielen
            mets {music} {room}  | mettre {music} {room}
            pon {music} {room}   | poner {music} {room}
            在{room}播放{music}     | 在{room}播放{music}
        """),
        music=draw.choice(_MUSIC),
        room=draw.choice(lexicon.ROOMS),
    )


def turn_on(draw: random.Random) -> words.Meaning:
    """A device in a room, on."""
    return _command(
        draw,
        "turn_on",
        *words.columns("""
            turn on {device} {room}     | turn on {device} {room}
            schalte {device} {room} ein | {device} {room} einschalten
            allume {device} {room}      | allumer {device} {room}
            enciende {device} {room}    | encender {device} {room}
            打开{room}的{device}           | 打开{room}的{device}
        """),
        device=draw.choice(_DEVICES),
        room=draw.choice(lexicon.ROOMS),
    )


def turn_off(draw: random.Random) -> words.Meaning:
    """A device in a room, off."""
    return _command(
        draw,
        "turn_off",
        *words.columns("""
            turn off {device} {room}    | turn off {device} {room}
            schalte {device} {room} aus | {device} {room} ausschalten
            éteins {device} {room}      | éteindre {device} {room}
            apaga {device} {room}       | apagar {device} {room}
            关掉{room}的{device}           | 关掉{room}的{device}
        """),
        device=draw.choice(_DEVICES),
        room=draw.choice(lexicon.ROOMS),
    )


def set_alarm(draw: random.Random) -> words.Meaning:
    """An alarm at a time of some day."""
    return _command(
        draw,
        "set_alarm",
        *words.columns("""
            set an alarm for {day} {time}     | set an alarm for {day} {time}
            stell den Wecker für {day} {time} | den Wecker für {day} {time} stellen
            mets le réveil pour {day} {time}  | mettre le réveil pour {day} {time}
            pon la alarma para {day} {time}   | poner la alarma para {day} {time}
            设一个{day}{time}的闹钟                 | 设一个{day}{time}的闹钟
        """),
        day=draw.choice(
            (clock.FUTURE_DAYS[0], *(day._replace(es=f"el {day.es}") for day in clock.WEEKDAYS)),
        ),
        time=clock.at_time(draw, period=False),
    )


def set_timer(draw: random.Random) -> words.Meaning:
    """A timer of so many minutes, for something in the oven or in the pot."""
    minutes = draw.choice(range(2, 61))
    return _command(
        draw,
        "set_timer",
        *words.columns("""
            set a timer for {minutes} minutes for {dish}        | set a timer for {minutes} minutes for {dish}
            stell den Timer für {dish} auf {minutes} Minuten    | den Timer für {dish} auf {minutes} Minuten stellen
            mets le minuteur sur {minutes} minutes pour {dish}  | mettre le minuteur sur {minutes} minutes pour {dish}
            pon el temporizador a {minutes} minutos para {dish} | poner el temporizador a {minutes} minutos para {dish}
            给{dish}设一个{minutes}分钟的计时器                           | 给{dish}设一个{minutes}分钟的计时器
        """),
        minutes=numerals.figures(minutes, fr="f", es="m")._replace(
            zh=f"[{minutes}|{numerals.cardinal(minutes, 'zh', counting=True)}]"
        ),
        dish=draw.choice(
            words.table("""
                the pizza | die Pizza | la pizza  | la pizza   | 比萨
                the cake  | den Kuchen | le gâteau | la tarta  | 蛋糕
                the eggs  | die Eier  | les œufs  | los huevos | 鸡蛋
                the rice  | den Reis  | le riz    | el arroz   | 米饭
            """)
        ),
    )


def call(draw: random.Random) -> words.Meaning:
    """Someone on the telephone, at a time."""
    contact = draw.choice(lexicon.PEOPLE).words
    return _command(
        draw,
        "call",
        *words.columns("""
            call {contact} {time}    | call {contact} {time}
            ruf {contact} {time} an  | {contact} {time} anrufen
            appelle {contact} {time} | appeler {contact} {time}
            llama a {contact} {time} | llamar a {contact} {time}
            {time}给{contact}打电话      | {time}给{contact}打电话
        """),
        contact=contact._replace(de=contact.de.replace("mein ", "meinen ")),
        time=clock.at_time(draw, period=False),
    )


def send_message(draw: random.Random) -> words.Meaning:
    """News for someone."""
    contact = draw.choice(lexicon.PEOPLE)
    return _command(
        draw,
        "send_message",
        *words.columns("""
            tell {contact} that {message}  | tell {contact} that {message}
            sag {contact}, dass {message}  | {contact} sagen, dass {message}
            dis à {contact} que {message}  | dire à {contact} que {message}
            dile a {contact} que {message} | decirle a {contact} que {message}
            告诉{contact}{message}           | 告诉{contact}{message}
        """),
        contact=contact.words._replace(de=contact.dative),
        message=draw.choice(_NEWS),
    )


def ask_weather(draw: random.Random) -> words.Meaning:
    """What the weather will be, or whether it will rain."""
    text = draw.choice(
        words.columns("""
            what will the weather be like in {city} {day}? | will it rain in {city} {day}?
            wie wird das Wetter {day} in {city}?           | wird es {day} in {city} regnen?
            quel temps fera-t-il {day} à {city} ?          | est-ce qu'il va pleuvoir {day} à {city} ?
            ¿qué tiempo hará {day} en {city}?              | ¿va a llover {day} en {city}?
            {city}{day}天气怎么样？                         | {city}{day}会下雨吗？
        """)
    )
    slots = {"city": draw.choice(lexicon.CITIES), "day": draw.choice(clock.FUTURE_DAYS)}
    return _meaning("ask_weather", words.fill(text, **slots), slots)


def ask_hours(draw: random.Random) -> words.Meaning:
    """When a place opens or closes."""
    text = words.Words(
        "when does {place} {opens} {day}?",
        "wann {opens} {place} {day}?",
        "à quelle heure {opens} {place} {day} ?",
        "¿a qué hora {opens} {place} {day}?",
        "{place}{day}几点{opens}？",
    )
    opens = draw.choice(_HOURS)
    slots = {"place": nouns.the(draw.choice(_PLACES)), "day": draw.choice(clock.FUTURE_DAYS)}
    return _meaning("ask_hours", words.fill(text, opens=opens, **slots), {**slots, "what": opens})


def set_temperature(draw: random.Random) -> words.Meaning:
    """So many degrees in a room."""
    return _command(
        draw,
        "set_temperature",
        *words.columns("""
            set the temperature {room} to {degrees} degrees  | set the temperature {room} to {degrees} degrees
            stell die Temperatur {room} auf {degrees} Grad   | die Temperatur {room} auf {degrees} Grad stellen
            règle la température {room} sur {degrees} degrés | régler la température {room} sur {degrees} degrés
            pon la temperatura {room} a {degrees} grados     | poner la temperatura {room} a {degrees} grados
            把{room}的温度调到{degrees}度                           | 把{room}的温度调到{degrees}度
        """),
        room=draw.choice(lexicon.ROOMS),
        degrees=numerals.figures(draw.choice(range(15, 29)), fr="m", es="m"),
    )


def remind(draw: random.Random) -> words.Meaning:
    """Something to be done on a day."""
    return _command(
        draw,
        "remind",
        *words.columns("""
            remind me {day} to {chore}         | remind me {day} to {chore}
            erinnere mich {day} daran, {chore} | mich {day} daran erinnern, {chore}
            rappelle-moi {day} de {chore}      | me rappeler {day} de {chore}
            recuérdame {day} {chore}           | recordarme {day} {chore}
            {day}提醒我{chore}                    | {day}提醒我{chore}
        """),
        day=draw.choice(clock.FUTURE_DAYS),
        chore=draw.choice(_CHORES),
    )


def volume_up(draw: random.Random) -> words.Meaning:
    """Louder."""
    return _command(
        draw,
        "volume_up",
        *words.columns("""
            turn up {device} {room}            | turn up {device} {room}
            mach {device} {room} lauter        | {device} {room} lauter machen
            monte le son de {device} {room}    | monter le son de {device} {room}
            sube el volumen de {device} {room} | subir el volumen de {device} {room}
            把{room}的{device}开大一点               | 把{room}的{device}开大一点
        """),
        device=draw.choice(_SOUNDS),
        room=draw.choice(lexicon.ROOMS),
    )


def volume_down(draw: random.Random) -> words.Meaning:
    """Quieter."""
    return _command(
        draw,
        "volume_down",
        *words.columns("""
            turn down {device} {room}          | turn down {device} {room}
            mach {device} {room} leiser        | {device} {room} leiser machen
            baisse le son de {device} {room}   | baisser le son de {device} {room}
            baja el volumen de {device} {room} | bajar el volumen de {device} {room}
            把{room}的{device}开小一点               | 把{room}的{device}开小一点
        """),
        device=draw.choice(_SOUNDS),
        room=draw.choice(lexicon.ROOMS),
    )


KINDS = (
    play_music,
    turn_on,
    turn_off,
    set_alarm,
    set_timer,
    call,
    send_message,
    ask_weather,
    ask_hours,
    set_temperature,
    remind,
    volume_up,
    volume_down,
)
