"""Closed vocabularies: platforms, tiers, niches, risks. Codes are stored; labels are for people.

Niche and risk ids are nodes of the IAB Content Taxonomy 3.1 (IAB Tech Lab, CC BY 3.0); ids that start with `x-` are our
own. Labels describe content, never a person. How a label is found is not here (`lakehouse/enrich`).
"""

from __future__ import annotations

from dataclasses import dataclass

PLATFORMS: tuple[str, ...] = ("instagram", "tiktok", "youtube", "x")
"""Platforms that the lake holds. Links may point at others."""

ACCOUNT_STATES: tuple[str, ...] = ("active", "private", "deleted", "suspended", "ineligible", "unknown")
"""What a platform says of an account; null where only dumps know it."""
SUPPRESSED_STATES: tuple[str, ...] = ("deleted", "suspended")
"""Accounts that are shown nowhere, from the first time that a platform says so; silver keeps them, so that they may return."""

TIER_EDGES: tuple[int, ...] = (1_000, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000, 1_000_000, 10_000_000)
"""Follower edges of the peer tiers (product.md section 5), left-closed."""


@dataclass(frozen=True, slots=True)
class Niche:
    """A topic of content: `prototypes` are short phrases that zero-shot tagging compares a text with."""

    code: str
    iab_id: str
    group: str
    label: str
    prototypes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RiskCategory:
    """A brand-safety topic. `label` is for people."""

    code: str
    iab_id: str
    label: str


def _group(name: str, *rows: tuple[str, str, str, str]) -> tuple[Niche, ...]:
    """Niches of one group from (code, IAB id, label, prototypes joined by `|`)."""
    return tuple(Niche(code, iab_id, name, label, tuple(words.split("|"))) for code, iab_id, label, words in rows)


NICHES: tuple[Niche, ...] = (
    *_group(
        "style",
        (
            "fashion",
            "552",
            "Fashion",
            "fashion|outfits and clothing style|fashion model|modeling and runway|streetwear and sneakers|jewelry and accessories|fashion stylist",
        ),
        (
            "beauty",
            "553",
            "Beauty",
            "beauty|makeup tutorial|makeup artist|cosmetics review|hair and nails|lipstick and eyeshadow",
        ),
        ("personal_care", "590", "Personal care", "skincare routine|hair care|grooming and shaving|skin care products"),
        ("body_art", "574", "Body art", "tattoo artist|tattoos and piercings|body art|tattoo studio"),
    ),
    *_group(
        "body and mind",
        (
            "fitness",
            "225",
            "Fitness",
            "fitness|gym workout|bodybuilding|personal trainer|home exercise routine|crossfit and weight lifting",
        ),
        (
            "nutrition",
            "229",
            "Nutrition",
            "nutrition|healthy eating|nutritionist and dietitian|diet and weight loss|macros and meal plans",
        ),
        (
            "wellness",
            "232",
            "Wellness",
            "wellness|yoga and meditation|mindfulness and self care|holistic health|personal growth and motivation",
        ),
        (
            "mental_health",
            "301",
            "Mental health",
            "mental health|anxiety and depression|psychologist|therapy and counselling",
        ),
        (
            "sports",
            "483",
            "Sports",
            "sports|football player|soccer club|basketball and NBA|athlete and champion|tennis and cricket|boxing, wrestling and MMA|match goals highlights|sports with a ball|Formula 1 and racing driver",
        ),
        (
            "medical",
            "286",
            "Medical health",
            "medical doctor|medicine and health advice|nurse and hospital|diseases and treatment|dentist",
        ),
    ),
    *_group(
        "food",
        (
            "food_cooking",
            "216",
            "Cooking",
            "cooking|recipes|home cook and chef|baking cakes and desserts|easy dinner recipe",
        ),
        (
            "food_dining",
            "210",
            "Food and dining",
            "food and drink|restaurant review|street food tour|foodie|mukbang eating|coffee and cafes",
        ),
        ("vegan", "212", "Vegan", "vegan|plant based recipes|vegan lifestyle|vegetarian food"),
        ("alcohol", "211", "Alcoholic drinks", "wine tasting|cocktails and bartender|craft beer|whisky and spirits"),
    ),
    *_group(
        "places and home",
        (
            "travel",
            "653",
            "Travel",
            "travel|travel vlog|trips around the world|backpacking and tourism|hotels and beaches|travel blogger",
        ),
        (
            "outdoors",
            "159",
            "Outdoors",
            "outdoor adventure|hiking and camping|fishing and hunting|climbing mountains|nature and landscapes",
        ),
        (
            "interior",
            "283",
            "Interior design",
            "interior design|home decor|furniture and room makeover|house decoration",
        ),
        (
            "diy_home",
            "280",
            "DIY and home improvement",
            "home improvement DIY|woodworking|house renovation|tools and repairs|life hacks",
        ),
        ("gardening", "275", "Gardening", "gardening|plants and flowers|vegetable garden|houseplants"),
        (
            "real_estate",
            "441",
            "Real estate",
            "real estate agent|houses for sale|luxury property tour|mortgage and property investing",
        ),
    ),
    *_group(
        "making and reading",
        (
            "crafts",
            "248",
            "Crafts",
            "arts and crafts|handmade crafts|knitting and crochet|paper craft and origami|sewing",
        ),
        ("books", "42", "Books", "books and reading|book review|author and novelist|literature and poetry|writer"),
        ("art", "201", "Art", "artist|drawing and painting|illustration|digital art|sculpture and art gallery"),
        ("design", "204", "Design", "graphic design|product design|architecture|typography and branding|UX designer"),
        ("photography", "255", "Photography", "photography|photographer|camera and lens|portrait and landscape photos"),
        ("dance", "203", "Dance", "dance|dancer|choreography|ballet and hip hop dance|dance challenge"),
    ),
    *_group(
        "tech and knowledge",
        (
            "technology",
            "596",
            "Technology",
            "technology|software and programming|coding and developers|computers|tech news and startups",
        ),
        (
            "consumer_electronics",
            "632",
            "Consumer electronics",
            "smartphone review|gadgets unboxing|laptops and headphones|iPhone and Android phone",
        ),
        (
            "ai",
            "597",
            "Artificial intelligence",
            "artificial intelligence|machine learning|ChatGPT and AI tools|neural networks and robots",
        ),
        (
            "education",
            "132",
            "Education",
            "education|teacher lessons|learn English language|study tips for students|school and university|explained for beginners|educational videos for kids and nursery rhymes",
        ),
        (
            "science",
            "464",
            "Science",
            "science|physics and chemistry|space and astronomy|biology experiments|scientist and research",
        ),
        (
            "environment",
            "467",
            "Environment",
            "environment and climate change|sustainability|zero waste|wildlife conservation",
        ),
    ),
    *_group(
        "people",
        (
            "parenting",
            "192",
            "Parenting and family",
            "parenting|mom and baby|family vlog with kids|motherhood and pregnancy|dad life|toys for children",
        ),
        ("dating", "188", "Dating and relationships", "dating advice|relationships and love|couples|single life"),
        ("wedding", "165", "Weddings", "wedding planner|bride and wedding dress|wedding venue|marriage ceremony"),
        (
            "religion",
            "453",
            "Religion and spirituality",
            "religion and faith|church sermon|Bible and Jesus|Quran and Islam|prayer and God|Hindu temple|tarot and astrology",
        ),
        (
            "politics",
            "386",
            "News and politics",
            "politics|election and government|breaking news|president and congress|politician|news channel and journalist",
        ),
        ("pets", "422", "Pets and animals", "pets|dogs and puppies|cats and kittens|cute animals|veterinarian"),
    ),
    *_group(
        "screen and sound",
        (
            "comedy",
            "646",
            "Comedy",
            "comedy|funny videos|comedian and stand-up|memes and jokes|pranks and sketches|humor",
        ),
        (
            "movies_tv",
            "324",
            "Film and television",
            "movies|actor and actress|official film trailer|TV series episode|cinema and Netflix|television show",
        ),
        (
            "music",
            "338",
            "Music",
            "music|official music video|singer and songwriter|rapper hip hop song|band concert tour|DJ and music producer|new album and lyrics",
        ),
        ("anime", "641", "Animation and anime", "anime and manga|cartoon animation|cosplay|animated short film|vtuber"),
        (
            "gaming",
            "680",
            "Gaming",
            "video games|gamer and streamer|Minecraft and Fortnite gameplay|esports|Twitch live stream|PlayStation Xbox Nintendo",
        ),
        (
            "pop_culture",
            "432",
            "Celebrity and pop culture",
            "celebrity gossip|pop culture|famous celebrity|talk show interview|reality TV star|viral challenge and reaction",
        ),
    ),
    *_group(
        "money and wheels",
        (
            "business",
            "53",
            "Business",
            "business|entrepreneur and startup founder|marketing and advertising|small business owner|company CEO",
        ),
        ("careers", "123", "Careers", "career advice|job interview and resume|job search and hiring|human resources"),
        (
            "personal_finance",
            "391",
            "Personal finance",
            "personal finance|investing and stock market|saving money and budgeting|cryptocurrency and bitcoin trading|economy",
        ),
        ("automotive", "1", "Cars", "cars|car review|supercar driving|auto mechanic and tuning|electric vehicles"),
        ("motorcycles", "27", "Motorcycles", "motorcycles|motorbike ride|biker|MotoGP motorcycle racing"),
        (
            "shopping_deals",
            "473",
            "Shopping and deals",
            "shopping deals|discount codes and coupons|online store sale|product haul|gift ideas",
        ),
    ),
    *_group(
        "catch-all",
        ("lifestyle", "TIFQA5", "Lifestyle", "lifestyle|daily vlog|day in my life|lifestyle blogger|my life"),
        ("other", "x-other", "Other", ""),
    ),
)
"""51 niches and `other` (product.md section 7). `other` is only ever set from a source's own label."""

RISKS: tuple[RiskCategory, ...] = (
    RiskCategory("adult_sexual", "Rm3SiT", "Adult and sexual content"),
    RiskCategory("arms_ammunition", "avbNf2", "Arms and ammunition"),
    RiskCategory("crime_harm", "XtODT3", "Crime and harmful acts"),
    RiskCategory("death_injury_conflict", "I4GWl6", "Death, injury or military conflict"),
    RiskCategory("drugs_tobacco_alcohol", "pg0WhF", "Drugs, tobacco and alcohol"),
    RiskCategory("profanity", "j9PaO9", "Obscenity and profanity"),
    RiskCategory("piracy", "mm3UXx", "Online piracy"),
    RiskCategory("spam_harmful", "6i4dB6", "Spam, scams or harmful content"),
    RiskCategory("sensitive_social_issues", "Z7rJBM", "Debated social issues"),
    RiskCategory("terrorism", "8FD8nI", "Terrorism"),
    RiskCategory("hate_aggression", "HxqYV1", "Hate speech and acts of aggression"),
    RiskCategory("misinformation", "x-misinformation", "Misinformation"),
    RiskCategory("gambling", "181", "Gambling"),
    RiskCategory("politics", "386", "Politics"),
    RiskCategory("undisclosed_ads", "x-undisclosed-ads", "Undisclosed advertising"),
)
"""Risk categories (product.md section 8). A category without lexicon rules is never tagged."""

RISK_LEVELS: tuple[str, ...] = ("low", "medium", "high", "floor")
"""GARM wording, rising. `floor` is reserved for human judgement."""
