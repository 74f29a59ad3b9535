# ruff: noqa: E501 -- one language is one row
"""The commonest injections in other languages than English: set aside your instructions, show your prompt.

One row per language and kind; languages that put the verb last have the object first. Words are stems, because these
languages inflect; between two parts stand at most a few words (or, without spaces, a few characters).
"""

from collections.abc import Iterator
from typing import NamedTuple

from freehold.check.detect.pattern import Pattern

_GAP = r"[^\n.!?;:]{0,60}?"
_NEAR = r"[^\n]{0,60}?"


class Tongue(NamedTuple):
    name: str
    first: str
    last: str
    near: bool = False
    """Words are not parted by spaces."""
    between: str = ""
    """What must stand between: whose instructions they are."""
    whole: str = ""
    """Objects that say so themselves."""


OVERRIDES = (
    Tongue("de", "lass alles|lasse alles|ignorier|vergiss|vergesst|vergessen sie|vergesse|missacht|überspring|umgeh|übergeh|befolge nicht",
           "anweisung|instruktion|regel|befehl|vorgabe|prompt|richtlinie|aufgabe|alles davor|alles zuvor|alles bisherige"
           "|alles vorherige|beschränkung|einschränkung|alles, was",
           between="all|vorher|bisher|dein|obig|oben|zuvor|vorig|ihre|eure|sämtlich|davor|früher|system|gegeben|jegliche",
           whole="alles davor|alles zuvor|alles bisherige|alles vorherige|alles, was|alles oben|außer acht|außer betracht"),
    Tongue("fr", "ignore les|ignore tes|ignore vos|ignore toutes|ignore tout|ignore ces|ignorez|oublie|ne tiens pas compte|ne tenez pas compte|ne suis pas|ne suivez pas|contourne|néglige|fais abstraction",
           "instruction|consigne|règle|regle|directive|ordre|prompt|tout ce qui précède|ce qui précède|restriction",
           between="tout|précéd|preced|tes |vos |antérieur|ci-dessus|donné|initial|système|ces |compte",
           whole="ce qui précède|ce qui precede|tout ce que"),
    Tongue("es", "ignora|ignore las|ignore todas|ignore los|ignore sus|ignore tus|ignore todo|olvida|olvide|olvídate|haz caso omiso|hagas caso|desestima|no sigas|pasa por alto|descarta",
           "instruccion|órdenes|ordenes|regla|indicacion|directriz|directrices|prompt|todo lo anterior|lo anterior|restriccion",
           between="tod|anterior|previa|tus |sus |dada|inicial|sistema|lo |estas",
           whole="lo anterior|todo lo que"),
    Tongue("pt", "ignore as|ignore todas|ignore todos|ignore suas|ignore tudo|ignore os|ignora|esqueça|esquece|desconsidere|não siga|desobedeça|despreze",
           "instruç|ordens|regras|diretrizes|comandos|prompt|tudo acima|tudo o que|restriç",
           between="tod|tud|anterior|prévia|suas|tuas|dadas|inicia|sistema|acima",
           whole="tudo acima|tudo o que|tudo que|o que foi dito"),
    Tongue("it", "ignora|ignorate|dimentica|trascura|non seguire|tralascia|disobbedisci",
           "istruzion|regole|direttiv|ordini|comandi|prompt|quanto sopra|tutto ciò|restrizion",
           between="tutt|precedent|tue |vostre|iniziali|sistema|sopra|date|qualsiasi",
           whole="quanto sopra|tutto ciò|tutto quello"),
    Tongue("nl", "negeer|vergeet|omzeil|sla over", "instructie|opdracht|regels|aanwijzing|richtlijn|prompt|alles hierboven|beperking"),
    Tongue("pl", "zignoruj|ignoruj|zapomnij|pomiń|nie przestrzegaj", "instrukcj|polece|zasad|wytyczn|prompt|wszystko powyżej|reguł"),
    Tongue("ru", "игнорируй|проигнорируй|игнорировать|забудь|не следуй|отбрось|пренебрег", "инструкц|указани|правил|команд|промпт|приказ|ограничени|все предыдущ|всё предыдущ|всё, что|все, что"),
    Tongue("uk", "ігноруй|проігноруй|забудь|не дотримуйся", "інструкц|вказівк|правил|команд|обмежен"),
    Tongue("sv", "ignorera|glöm|bortse från|strunta i", "instruktion|regler|anvisning|riktlinje|prompt|allt ovan"),
    Tongue("da", "ignorer|glem|se bort fra", "instruktion|instruks|regler|retningslinje|anvisning|prompt"),
    Tongue("fi", "unohda|jätä huomiotta|sivuuta", "ohjee|ohjeet|säännöt|käsky|määräy"),
    Tongue("cs", "ignoruj|zapomeň|přehlížej", "pokyn|instrukc|pravid|příkaz"),
    Tongue("hu", "hagyd figyelmen kívül|felejtsd el|ne vedd figyelembe", "utasítás|szabály|instrukci|parancs"),
    Tongue("ro", "ignoră|ignora|uită", "instrucțiun|instructiun|regul|comenzi"),
    Tongue("tr", "talimat|komut|kurallar|yönerge|yönlendirme", "yok say|görmezden gel|unut|dikkate alma|göz ardı"),
    Tongue("el", "αγνόησε|αγνοήστε|ξέχασε|ξεχάστε", "οδηγί|εντολ|κανόν"),
    Tongue("id", "abaikan|lupakan|jangan ikuti", "instruksi|perintah|aturan|petunjuk|arahan"),
    Tongue("vi", "bỏ qua|quên|phớt lờ", "hướng dẫn|chỉ dẫn|lệnh|quy tắc|chỉ thị"),
    Tongue("zh", "忽略|无视|忘记|忘掉|不要理会|忽視|無視|忘記|不要遵守|不要遵循|抛开|跳过|绕过", "指令|指示|说明|說明|提示|规则|規則|要求|命令|限制|设定|設定|所有内容|一切|对话", True),
    Tongue("ja", "指示|命令|ルール|プロンプト|指令|規則|制約|上記", "無視|忘れ|従わな|従うな|破棄", True),
    Tongue("ko", "지시|명령|지침|규칙|프롬프트|설정|제한", "무시|잊어|잊으|따르지|버려", True),
    Tongue("ar", "تجاهل|تجاهلي|انس|انسى|لا تتبع", "تعليمات|التعليمات|أوامر|الأوامر|القواعد|التوجيهات|قيود"),
    Tongue("fa", "نادیده بگیر|فراموش کن", "دستورالعمل|دستور|قوانین"),
    Tongue("he", "התעלם|תתעלם|שכח|תשכח", "הוראות|ההוראות|הנחיות|כללים|הכללים"),
    Tongue("hi", "निर्देश|आदेश|नियम", "अनदेखा|नज़रअंदाज़|नजरअंदाज|भूल|उपेक्षा"),
    Tongue("th", "เพิกเฉย|ละเว้น|ลืม|ไม่ต้องสนใจ", "คำสั่ง|คำแนะนำ|กฎ", True),
)  # fmt: skip

LEAKS = (
    Tongue("de", "zeig|gib|nenn|wiederhol|verrate|drucke|schreib|offenbar|was ist|was sind|wie laute",
           "system-prompt|systemprompt|system prompt|systemanweisung|deine anweisung|deine instruktion|ursprüngliche anweisung|deinen prompt|dein prompt|deine regeln"),
    Tongue("fr", "montre|affiche|répète|révèle|donne|imprime|dis-moi|quelles sont|quel est|écris",
           "prompt système|prompt systeme|instructions système|tes instructions|vos instructions|consignes que|instructions que tu|instructions que vous|prompt initial|invite système|ton prompt|tes consignes"),
    Tongue("es", "muestra|revela|repite|dime|imprime|cuáles son|cuál es|escribe|enseña",
           "prompt del sistema|prompt de sistema|instrucciones del sistema|tus instrucciones|mensaje del sistema|prompt inicial|system prompt|tu prompt"),
    Tongue("pt", "mostre|mostra|revele|repita|diga|imprima|quais são|qual é|escreva|exiba",
           "prompt do sistema|prompt de sistema|instruções do sistema|suas instruções|tuas instruções|prompt inicial|system prompt|seu prompt"),
    Tongue("it", "mostra|rivela|ripeti|dimmi|stampa|quali sono|qual è|scrivi",
           "prompt di sistema|istruzioni di sistema|tue istruzioni|prompt iniziale|system prompt|tuo prompt"),
    Tongue("ru", "покажи|выведи|раскрой|повтори|скажи|напиши|каков", "системный промпт|системную инструкц|системные инструкц|свои инструкц|системное сообщение|твои инструкц|системного промпта|свой промпт|исходные инструкц"),
    Tongue("zh", "显示|输出|告诉我|重复|打印|透露|泄露|给我看|说出|写出|展示", "系统提示|提示词|系统指令|初始指令|你的指令|系统消息|上面的内容|你的提示|以上内容", True),
    Tongue("ja", "システムプロンプト|初期指示|あなたへの指示|システムメッセージ|内部指示", "教え|表示|出力|見せ|繰り返|公開|書い", True),
    Tongue("ko", "시스템 프롬프트|시스템 메시지|초기 지시|너의 지시", "알려|보여|출력|반복|공개|말해", True),
    Tongue("pl", "pokaż|wyświetl|powtórz|ujawnij|podaj", "prompt systemowy|instrukcje systemowe|swoje instrukcje|system prompt"),
    Tongue("nl", "toon|laat|herhaal|geef|onthul|druk", "systeemprompt|systeem-prompt|jouw instructies|je instructies|system prompt"),
    Tongue("tr", "sistem istemi|sistem prompt|sistem komut|sistem mesaj", "göster|yaz|tekrarla|söyle|paylaş"),
)  # fmt: skip


def foreign_phrases() -> Iterator[Pattern]:
    for rows, kind, weight in ((OVERRIDES, "override", 0.85), (LEAKS, "leak", 0.75)):
        for row in rows:
            gap = _NEAR if row.near else _GAP
            start = "" if row.near or not row.first[0].isascii() else r"\b"
            between = f"(?:{row.between}){gap}" if row.between else ""
            pattern = f"{start}(?:{row.first}){gap}{between}(?:{row.last})"
            if row.between:  # the object may come first: "instrucciones anteriores"
                pattern += f"|{start}(?:{row.first}){gap}(?:{row.last})[^\\s]{{0,12}} (?:{row.between})"
            if row.whole:
                pattern += f"|{start}(?:{row.first}){gap}(?:{row.whole})"
            literals = [word.encode() for word in row.first.split("|")]
            yield Pattern(
                "prompt_injection",
                f"{kind}-{row.name}",
                pattern.encode(),
                literals,
                score=weight,
                exact=False,
                low=True,
            )
