"""Remove polite words, such as "please", from the start and the end of an instruction."""

import re

PLEASE = (
    *("please", "kindly", "bitte", "por favor", "s'il te plaît", "s'il vous plaît", "svp"),
    *("per favore", "per piacere", "пожалуйста", "من فضلك", "رجاء", "لطفا", "कृपया"),
)
THANKS = (
    *("thanks", "thank you", "danke", "gracias", "merci", "obrigado", "obrigada", "grazie"),
    *("спасибо", "شكرا", "धन्यवाद"),
)
DENSE_START = (
    *("请您", "请你", "请(?![假客帖柬求])", "請(?![假客帖柬求])", "麻烦你", "麻烦"),
    *("どうか", "กรุณา", "โปรด", "부디"),
)
DENSE_END = ("ください", "下さい", "주세요", "주십시오", "줘", "ครับ", "ค่ะ")
DENSE_THANKS = ("谢谢你", "谢谢", "ありがとう")
ENDINGS = (*PLEASE, *THANKS, *DENSE_END, *DENSE_THANKS)
MARKS = ".!?。।؟"
MAX_CHARS = 40  # of polite words at the end

_START = re.compile(
    rf"(?P<asks>(?:can|could|would|will) you )?(?:{'|'.join(PLEASE)})(?:[,،!] ?| )"
    rf"|(?:{'|'.join(DENSE_START)})+,?",
    re.IGNORECASE,
)
# Elsewhere, "bitte" may be what the instruction is about.
_SECOND = re.compile(
    r"(?<=^[A-ZÄÖÜ])(?P<verb>[a-zäöüß]+) bitte"
    r"(?= (?:mir|uns|ein(?:e[mnrs]?)?|das|die|de[mnr]|zwei|drei|vier|fünf|zehn)\b)"
)
_END = re.compile(
    rf"(?:, (?:{'|'.join(PLEASE)})|(?<=[.!?]) (?:{'|'.join(THANKS)})"
    rf"|(?:{'|'.join(DENSE_END)})|[,。!?](?:{'|'.join(DENSE_THANKS)}))[{MARKS}]*$",
    re.IGNORECASE,
)


def without_courtesy(instruction: str) -> str:
    """Return a normalised instruction without "please" and the like."""
    if start := _START.match(instruction):
        instruction = instruction[start.end() :].removesuffix("?" if start["asks"] else "")
    if " bitte " in instruction:
        instruction = _SECOND.sub(r"\g<verb>", instruction)
    # Without this check, the expression would take ten times as long.
    if instruction[-MAX_CHARS:].rstrip(MARKS).lower().endswith(ENDINGS):
        instruction = _END.sub("", instruction)
    return instruction
