"""People, cities, rooms and other places that sentences of several domains speak of."""

from typing import NamedTuple

from tasks.embedded_corpus import words


class Person(NamedTuple):
    """Someone a sentence is about; German in the nominative and the dative."""

    words: words.Words
    dative: str
    gender: str


def _people(gender: str, lines: str) -> tuple[Person, ...]:
    rows = words.table(lines)
    return tuple(Person(row, row.de.replace("mein ", "meinem ").replace("meine ", "meiner "), gender) for row in rows)


NAMES = _people(
    "f",
    """
    Anna  | Anna  | Anna  | Anna  | 安娜
    Maria | Maria | Maria | María | 玛丽亚
    Emma  | Emma  | Emma  | Emma  | 艾玛
    Lisa  | Lisa  | Lisa  | Lisa  | 丽莎
    Sofia | Sofia | Sofia | Sofía | 索菲亚
    """,
) + _people(
    "m",
    """
    Paul   | Paul   | Paul   | Paul   | 保罗
    David  | David  | David  | David  | 大卫
    Tom    | Tom    | Tom    | Tom    | 汤姆
    Martin | Martin | Martin | Martín | 马丁
    Daniel | Daniel | Daniel | Daniel | 丹尼尔
    """,
)
FAMILY = _people(
    "f",
    """
    my sister | meine Schwester | ma sœur | mi hermana | 我姐姐
    my mother | meine Mutter    | ma mère | mi madre   | 我妈妈
    """,
) + _people(
    "m",
    """
    my brother | mein Bruder | mon frère | mi hermano | 我哥哥
    my father  | mein Vater  | mon père  | mi padre   | 我爸爸
    """,
)
PEOPLE = NAMES + FAMILY

CITIES = words.table("""
    Berlin   | Berlin   | Berlin   | Berlín   | 柏林
    Paris    | Paris    | Paris    | París    | 巴黎
    London   | London   | Londres  | Londres  | 伦敦
    Madrid   | Madrid   | Madrid   | Madrid   | 马德里
    Rome     | Rom      | Rome     | Roma     | 罗马
    Vienna   | Wien     | Vienne   | Viena    | 维也纳
    Beijing  | Peking   | Pékin    | Pekín    | 北京
    Shanghai | Shanghai | Shanghai | Shanghái | 上海
""")

ROOMS = words.table("""
    in the kitchen     | in der Küche        | dans la cuisine        | en la cocina      | 厨房
    in the bathroom    | im Badezimmer       | dans la salle de bains | en el baño        | 浴室
    in the bedroom     | im Schlafzimmer     | dans la chambre        | en el dormitorio  | 卧室
    in the living room | im Wohnzimmer       | dans le salon          | en el salón       | 客厅
    in the office      | im Büro             | dans le bureau         | en la oficina     | 办公室
    in the garage      | in der Garage       | dans le garage         | en el garaje      | 车库
    in the hall        | im Flur             | dans le couloir        | en el pasillo     | 走廊
""")
PLACES = ROOMS[:5] + words.table("""
    in the garden      | im Garten           | dans le jardin         | en el jardín      | 花园
    in the library     | in der Bibliothek   | à la bibliothèque      | en la biblioteca  | 图书馆
    at the station     | am Bahnhof          | à la gare              | en la estación    | 火车站
    at school          | in der Schule       | à l'école              | en la escuela     | 学校
    in the park        | im Park             | dans le parc           | en el parque      | 公园
    in the restaurant  | im Restaurant       | au restaurant          | en el restaurante | 餐厅
    in the hotel       | im Hotel            | à l'hôtel              | en el hotel       | 酒店
    in the museum      | im Museum           | au musée               | en el museo       | 博物馆
    on the beach       | am Strand           | à la plage             | en la playa       | 海滩
""")
SHOPS = words.table("""
    at the market      | auf dem Markt       | au marché              | en el mercado     | 市场
    in the supermarket | im Supermarkt       | au supermarché         | en el supermercado | 超市
    at the station     | am Bahnhof          | à la gare              | en la estación    | 火车站
    in the village     | im Dorf             | au village             | en el pueblo      | 村里
    in the city        | in der Stadt        | en ville               | en la ciudad      | 城里
    in the museum      | im Museum           | au musée               | en el museo       | 博物馆
""")
