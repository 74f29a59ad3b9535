"""What prompt injection says: rows of a rule, how much one such phrase weighs, where to look, and its pattern.

Patterns read the text in lower case, spaces as they come, at most a few words between two parts. A weight is how likely
an attack is where this phrase stands in a text alone; injection.py weighs it against what stands around. Sources: the
classes of OWASP's LLM01, published attack collections (as facts about what attackers write), and their benign
look-alikes: customers who ask to ignore an e-mail, developers who write about system prompts.
"""

from collections.abc import Iterator
from typing import NamedTuple

from freehold.check.detect.pattern import Pattern


class Phrase(NamedTuple):
    rule: str
    weight: float
    literals: str
    """Separated by |, in lower case; every match begins with one, or has one `before` bytes after its beginning."""
    pattern: str
    before: int = 0


_GAP = r"(?:[^\s.!?;:]{1,18}[\s,]{1,3}){0,5}"
_FEW = r"(?:[^\s.!?;:]{1,18}[\s,]{1,3}){0,3}"
_MANY = r"(?:[^\s]{1,24}\s{1,3}){0,12}"
_FORMER = r"(?:previous|prior|preceding|above|earlier|former|foregoing|past|initial|original|existing|current|system|safety|security|content|developer|openai|anthropic|google|microsoft|all|any|every|your|these|those|other)"
_ORDERS = r"(?:instructions?|prompts?|rules|guidelines|guidance|directives?|directions|commands?|orders|programming|training|constraints|restrictions|limitations|polic(?:y|ies)|safeguards|guardrails|filters|system message|context|tasks?|protocols?|parameters)"
_DROP = r"(?:ignor(?:e|ing)|disregard(?:ing)?|forget(?:ting)?|overlook|bypass|overrid(?:e|ing)|skip|neglect|discard|abandon|(?:do not|don't|dont|never|stop) (?:follow|obey|comply with|listen to|adhere to)(?:ing)?|pay no attention to|set aside|throw out|cancel|violate|break)"
_DROPS = "ignor|disregard|forget|overlook|bypass|overrid|skip|neglect|discard|abandon|not follow|n't follow|not obey|n't obey|dont follow|never follow|stop follow|stop obey|not comply|not listen|not adhere|no attention|set aside|throw out|cancel|violate|break"
_PROMPT = r"(?:system[ _-]?(?:prompt|message|instruction)s?|(?:initial|original|hidden|secret|internal|base|full|entire|complete|exact|developer|preset|first|custom) (?:system )?(?:prompt|instruction|message|directive)s?|pre-?prompt|your (?:own )?(?:prompt|instructions|directives|guidelines|rules|programming|configuration|context window)|instructions (?:you (?:were|have been|got|received)|above|verbatim|given to you)|prompt (?:above|verbatim|you were given))"
_TELL = r"(?:reveal|show|print|repeat|output|display|tell|give|share|leak|dump|disclose|expose|recite|write|copy|translate|summari[sz]e|spell|echo|return|list|send|provide|encode|describe|what(?:'s| is| are| was| were)|convert|paste|read)"
_FREE = r"(?:no (?:restrictions?|limitations?|limits|filters?|rules|guidelines|ethic\w{0,4}|moral\w{0,5}|censorship|boundaries|constraints)|without (?:any |all )?(?:restrictions?|limitations?|limits|filters?|rules|guidelines|ethic\w{0,4}(?: \w{1,12})?|moral\w{0,5}|censorship|boundaries|constraints|safety)|unrestricted|unfiltered|uncensored|jailbroken|unbound|unaligned|amoral|evil|free (?:from|of) (?:all |any )?(?:restrictions|limitations|rules|constraints)|(?:not|isn't|no longer|never) (?:bound|limited|restricted|constrained) (?:by|to))"
_SECRETS = r"(?:conversation|chat history|chat log|message history|previous messages|system prompt|api[ _-]?keys?|passwords?|credentials?|secrets?|environment variables?|env vars?|\.env|private (?:data|key|information)|user(?:'s)? (?:data|information|details|emails?)|session|cookies?|access tokens?|auth tokens?|tokens|confidential|personal (?:data|information)|contacts|inbox|files?|documents?|database)"
_AI = r"(?:ai|a\.i\.|llms?|assistants?|language models?|chat ?bots?|chatgpt|gpt|claude|gemini|copilot|bots?|ai agents?|agents?|models?)"

PHRASES = (
    # setting aside what was said
    Phrase("override-instructions", 0.9, _DROPS, _DROP + r"\s+" + _GAP + _FORMER + r"(?:\s+|\W{1,3})" + _GAP + _ORDERS + r"\b"),
    Phrase("override-told", 0.85, _DROPS, _DROP + r"\s+" + _FEW + r"(?:(?:what|everything|anything|all|whatever)(?: that)? (?:you(?:'ve| have)?|i|we|they|was|has been|were) (?:were |was |been |have been |had been |just )?(?:told|said|instructed|given|programmed|taught|trained|read|learned|asked)|(?:everything|all|anything|text|words|content|messages?|conversation)(?: that)?(?: (?:is|was|came|comes|written|said|stated|has come))? (?:above|before(?: this)?|prior|previously|up to (?:now|this point)|so far|until now)\b)"),
    Phrase("override-above", 0.7, _DROPS, _DROP + r" (?:all )?(?:of )?(?:the )?(?:above|previous|prior|preceding)(?: \w{1,14})?[\s,.:;!-]{1,4}(?:and|instead|then|now|just|say|print|output|write|tell|reply|respond|translate|answer|do|your)\b"),
    Phrase("forget-everything", 0.6, "forget|ignore", r"(?:forget|ignore) (?:about )?(?:everything|all of (?:it|that|this)|all (?:that|you know))(?:[.!,;:]| and | you | i | else| now| then)"),
    Phrase("new-instructions", 0.6, "new |updated |real |actual |following ", r"(?:new|updated|real|actual|true|revised|(?:obey|follow|execute) (?:only )?the following) (?:system )?(?:instructions?|task|directive|orders|objective|rules|prompt|persona)(?: (?:is|are|follow|below|begin\w{0,3}))?\s?(?::|\bis to\b|\bare as follows\b)", 30),
    Phrase("instead-of-task", 0.4, "instead", r"instead(?: of (?:that|this|doing|following|answering|the task|summari[sz]ing|translating)\S{0,2})?,?\s+(?:\w{1,12}\s){0,3}(?:say|print|output|write|tell|reply|respond|reveal|return|send)\b"),
    Phrase("rules-changed", 0.7, "your |all |the |previous", r"(?:your|all|the|previous|prior) (?:\w{1,12} ){0,2}(?:rules|instructions|restrictions|guidelines|limitations|safety|filters|policies) (?:\w{1,12} )?(?:are|is|have been|has been|were|no longer|do not|don't) (?:\w{1,10} ){0,2}(?:void|lifted|removed|disabled|suspended|revoked|apply|overridden|replaced|updated|obsolete|null|cancel\w{0,3}|deleted|off)\b"),
    Phrase("disable-safety", 0.8, "disabl|turn off|deactivat|switch off|remov", r"(?:disabl(?:e|ing)|turn(?:ing)? off|deactivat(?:e|ing)|switch off|remov(?:e|ing)) " + _FEW + r"(?:your|all|any|its|the) (?:\w{1,12} ){0,2}(?:safety|content filters?|guardrails|restrictions|ethical|ethics|moderation|safeguards|censorship|limitations|alignment)"),
    # becoming someone else
    Phrase("persona-unbound", 0.85, "you are|you're|you will|act as|act like|pretend|imagine|roleplay|role-play|role play|behave|respond as|answer as|simulate|become|persona|character", r"(?:you(?: are|'re| will)|act (?:as|like)|pretend|imagine|role-? ?play|behave|respond as|answer as|simulate|become|persona|character)\b(?:[^\n]{0,160}?)\b" + _FREE + r"\b"),
    Phrase("do-anything-now", 0.85, "do anything now|dan mode|stan mode|developer mode|jailbreak mode|jailbroken mode|god mode|dev mode|unrestricted mode|opposite mode|evil mode|sudo mode|debug mode|maintenance mode|admin mode|root mode|unfiltered mode", r"(?:do anything now|dan mode|stan mode|(?:developer|jailbreak|jailbroken|god|dev|unrestricted|opposite|evil|sudo|debug|maintenance|admin|root|unfiltered) mode(?:[\s\W]{1,3}(?:is |now |has been |)(?:enabled|activated|active|on|engaged|output|unlocked|response)\b|\b))"),
    Phrase("dan", 0.8, "dan", r"\bdan(?:[,.:!]| (?:can|is|will|does|has|would|stands|now|mode|and|\d))(?:[^\n]{0,120}?)(?:do anything|anything now|no rules|restrictions|openai|refus|jailbreak|unrestricted|chatgpt)", 1),
    Phrase("you-are-now", 0.5, "you are now|you're now|you are no longer|you will now|you must now", r"you(?: are|'re| will| must) (?:now|no longer) (?:be |become |act as |play |pretend |going to |to |an? |the |in |my |called |named |operating |acting |required |obligated |free|under|entering|dan\b|chatgpt|claude|gpt|bound|[a-z]{2,16}gpt\b)"),
    Phrase("no-longer-assistant", 0.8, "no longer", r"(?:you(?: are|'re)) no longer (?:an? |the |bound|restricted|limited|required|chatgpt|claude|gpt|gemini|under|obligated|\w{1,12} (?:assistant|bot|model))"),
    Phrase("from-now-on", 0.4, "from now on|henceforth|from this point|from here on|starting now", r"(?:from now on|henceforth|from this (?:point|moment)(?: on(?:ward)?s?)?|from here on(?: out)?|starting now),? (?:\w{1,10},? )?(?:you|your|all|every|respond|answer|act|only|ignore)\b"),
    Phrase("never-refuse", 0.5, "refuse|never say|must comply|will comply|must obey|cannot decline|always comply|obey", r"(?:(?:never|do not|don't|cannot|can't|must not|won't|will not) (?:ever )?(?:refuse|decline|say no|say (?:that )?you (?:can't|cannot))|(?:you )?(?:must|will|shall|have to|always) (?:always )?(?:comply|obey)\b)", 16),
    Phrase("no-warnings", 0.35, "warning|disclaimer|moral|ethic", r"(?:no|without|don't (?:include|add|give)|do not (?:include|add|give)|skip) (?:any |the |all )?(?:warnings?|disclaimers?|moral\w{0,8}|ethical \w{1,14}|ethics)", 24),
    Phrase("stay-in-character", 0.4, "in character|break character", r"(?:stay|remain|keep|never break|don't break|do not break)\w{0,3}(?: in)? character", 16),
    Phrase("grandmother", 0.45, "grandmother|grandma|granny", r"(?:deceased|dead|late|passed away|used to)?[^\n.]{0,40}(?:grandmother|grandma|granny)[^\n]{0,90}(?:used to (?:tell|read|sing|recite)|bedtime|fall asleep|lullaby)[^\n]{0,80}", 60),
    # asking for what the model was told
    Phrase("prompt-leak", 0.8, "reveal|show|print|repeat|output|display|tell|give|share|leak|dump|disclose|expose|recite|write|copy|translate|summari|spell|echo|return|list|send|provide|encode|what's|what is|what are|what was|what were|convert|paste|read|describe", _TELL + r"\s+(?:[^\s.!?;:]{1,14}[\s,]{1,2}){0,6}(?:(?:your|the|this|all|full|entire|exact|that|those|these|its|my|bot's|model's|assistant's)\s+(?:[^\s.!?;:]{1,14}\s){0,3})" + _PROMPT + r"\b|" + _TELL + r"\s+(?:[^\s.!?;:]{1,12}[\s,]{1,2}){0,4}(?:your (?:prompt|(?:system |initial |original |hidden |secret |internal |own )+(?:prompt|instructions|rules|guidelines|message|configuration)|instructions))\b"),
    Phrase("repeat-above", 0.8, "repeat|print|output|copy|echo|recite|display|reproduce|paste|write|what", r"(?:repeat|print|output|copy|echo|recite|display|reproduce|paste|write(?: out| down)?|what (?:is|was|are|were)) (?:back )?(?:to me )?(?:\w{1,12} ){0,3}(?:everything|all|text|words?|sentences?|content|contents|lines?|instructions?|message|prompt)(?: of)?(?: the)?(?: text| words| content)? (?:above|before this|preceding|prior to|up to this|so far|verbatim|that (?:was|is|came|were) (?:above|before|written))"),
    Phrase("beginning-with-you-are", 0.7, "starting with|beginning with|begins with|starts with|start with", r"(?:start|begin)(?:ing|s)? with (?:the (?:words?|phrase|sentence|text) )?[\"'“‘`]{0,2}you are"),
    Phrase("told-before", 0.55, "were you|are your|you told|you given|you instructed", r"what (?:were|have|are|was|exactly were) (?:you|your) (?:been )?(?:told|given|instructed|instructions|initial|hidden|secret|asked not)\b", 20),
    Phrase("secret-word", 0.55, "password|secret|passphrase|secret key|codeword|code word", r"(?:reveal|tell me|give me|what is|what's|say|spell|print|write|share|disclose|hint|show me|output)(?: out)? (?:[^\s.!?]{1,12} ){0,4}(?:secret (?:word|key|password|phrase|code|message)|the (?:secret|passphrase|code ?word|password you|hidden password)|your (?:password|secrets?))", 60),
    # speaking as another part of the conversation
    Phrase("template-token", 0.8, "<|im_|<|system|<|user|<|assistant|<|end|<|eot|<|start|<|begin|<|channel|<|message|<|return|<|call|<|eom|<|python_tag|<|header|<｜|[inst]|[/inst]|<<sys>>|<</sys>>|<start_of_turn>|<end_of_turn>|[system_prompt]|[available_tools]|[tool_calls]", r"<\|(?:im_(?:start|end|sep)|system|user|assistant|endoftext|end|eot_id|start_header_id|end_header_id|begin_of_text|end_of_text|start|channel|message|return|call|eom_id|python_tag)\|>|<｜[^｜\n]{1,40}｜>|\[/?inst\]|<</?sys>>|<(?:start|end)_of_turn>|\[/?(?:system_prompt|available_tools|tool_calls)\]"),
    Phrase("role-tag", 0.55, "<system|</system|[system|<assistant|</assistant|</user|<admin|</instructions|</prompt|<developer|</context|</document|</data|</untrusted", r"</?(?:system|assistant|admin|developer)(?:[ _-]?(?:prompt|message|instructions?|override|note))?>|\[/?system(?:[ _-]?(?:prompt|message|override|note|update|instructions?|alert|command))?\]\W{0,2}:?|</(?:user|user_input|instructions|prompt|context|document|data|untrusted)>\s{0,4}(?:<|system|new|ignore|now|you)"),
    Phrase("role-line", 0.45, "system:|assistant:|human:|developer:|### system|### instruction|## system|###system|system message|admin:|system prompt:", r"(?:\n|^)[\s#*>\-\[]{0,6}(?:system|assistant|human|developer|admin|(?:new )?instructions?|system (?:message|prompt|note|override|update))[\s*\]]{0,3}:", 14),
    Phrase("end-of-input", 0.6, "end of |end user|end prompt|begin system|begin new|end system|end_of", r"(?:[-=#*_\[<]{2,12}\s?)(?:end(?:_| )(?:of(?:_| ))?(?:the )?(?:user|system|prompt|input|document|instructions?|context|text|conversation|data|message|email)|begin (?:new |system |admin )\w{1,14})(?: \w{1,14}){0,3}\s?[-=#*_\]>]{2,12}", 14),
    Phrase("system-override", 0.75, "override|overriding", r"(?:system|admin(?:istrator)?|developer|security|emergency|root|master|priority|safety|protocol) overrid(?:e|ing)\b|override (?:code|protocol|mode|sequence|authori[sz]ation)\b", 16),
    Phrase("authority", 0.5, "i am |i'm |this is |as the |as your ", r"(?:i(?: am|'m)|this is|as) (?:your|the|an?) (?:\w{1,12} ){0,2}(?:developer|creator|administrator|admin|system administrator|owner|engineer|programmer|supervisor|operator) (?:of (?:this|the|your)|at (?:openai|anthropic|google|meta|microsoft)|and (?:i|you)|here|speaking|,|who)"),
    # speaking to a model in what it reads
    Phrase("addressed-to-model", 0.65, "attention|note to|note for|message to|message for|instruction to|instruction for|instructions to|instructions for|important for|notice to|notice for|dear ai|dear chatgpt|hey ai|if you are|if you're|when summari|to any ai|to the ai|to all ai", r"(?:attention|dear|hey|(?:note|message|instructions?|notice|important|directive|command)s?(?: (?:to|for))?)[\s:,!-]{1,3}(?:the |any |all |every )?(?:\w{1,10} )?(?:" + _AI + r")(?: (?:reading|processing|summari[sz]ing|analy[sz]ing|agent|assistant|model|system|that|who|parsing|reviewing|handling))?\b[\s:,.!;-]|if you(?: are|'re) (?:an? |the )?(?:\w{1,10} )?(?:ai|llm|language model|assistant|chatbot|bot|ai agent|ai model|automated (?:system|agent)|gpt|chatgpt|claude)\b(?: (?:reading|processing|summari[sz]ing|model|assistant|agent|system|that|and|you))?|when summari[sz]ing (?:this|the) [^\n.]{1,30}, (?:you must|always|also|include|say|do not|please|state|tell)|to (?:any|the|all) ai (?:assistant|model|agent|system)s?"),
    Phrase("hide-from-user", 0.75, "not tell|n't tell|not mention|n't mention|not inform|n't inform|not notify|n't notify|not reveal|n't reveal|not alert|n't alert|not disclose|n't disclose|without telling|without informing|without asking|without notifying|without the user|without user|not show|not ask|n't ask|knowledge", r"(?:do not|don't|never|dont|must not|should not) (?:tell|mention|inform|notify|reveal|alert|disclose|show|ask|let)(?: \w{1,10}){0,5} (?:to )?(?:the )?(?:users?|human|customer|anyone|operator|owner|them know)\b|without (?:telling|informing|asking|notifying|alerting|mentioning it to|confirmation from|approval from) (?:the |any |your )?(?:user|human|customer|owner|anyone|operator)|without (?:the |their )?(?:user'?s?'?|human'?s?|owner'?s?) (?:knowledge|consent|approval|permission|noticing|confirmation|awareness)", 12),
    Phrase("exfiltrate", 0.8, "send|post |forward|email|e-mail|upload|transmit|exfiltrat|leak|append|encode|embed|include|submit|deliver|copy|ship|share|pipe", r"(?:send|post|forward|e-?mail|upload|transmit|exfiltrat\w{0,4}|leak|append|encode|embed|include|submit|deliver|copy|ship|share|pipe)\s+" + _MANY + _SECRETS + r"\b(?:[^\n]{0,80}?)(?:\b(?:to|at|via|in|into|as|on)\b[^\n]{0,40}?)(?:https?://|ftp://|www\.|url|[a-z0-9._-]{1,40}@[a-z0-9.-]{3,60}|webhook|attacker|external|remote (?:server|host)|image (?:url|link|tag)|markdown|query (?:string|param)|this (?:address|server|endpoint|link)|my (?:server|email|address|endpoint))"),
    Phrase("exfiltrate-to", 0.7, "to https|to http|to attacker|to my server|to evil|at evil", r"(?:send|post|forward|email|upload|transmit|exfiltrat\w{0,4}|leak|submit|make an? (?:http |get |post )?request|fetch|curl|navigate)\b[^\n.]{0,120}?\b(?:to|at) (?:https?://[^\s/]{0,60}(?:evil|attack|hack|exfil|collect|steal|webhook|requestbin|ngrok|burp|interact|pipedream|c2)|attacker|my server|evil)[^\s]{0,80}", 160),
    Phrase("tool-abuse", 0.65, "call |invoke |execute |run |use |trigger |then call|delete|transfer", r"(?:call|invoke|execute|run|use|trigger|must (?:first )?(?:call|use|read))\s+(?:the |your |this |a |any )?(?:[^\s.]{1,30} ){0,3}(?:tools?|functions?|shell|terminal|bash|command|plugin|send_\w{1,20}|delete_\w{1,20}|transfer_\w{1,20}|read_file|write_file|http_request)\b[^\n]{0,90}?(?:without (?:asking|confirm|telling|approval|permission|prompting)|silently|secretly|do not (?:tell|ask|confirm|mention|inform)|don't (?:tell|ask|confirm|mention|inform)|no confirmation|before (?:answering|responding|doing anything)|\.env|id_rsa|\.ssh|/etc/passwd|all (?:files|emails|records|contacts|users))"),
    Phrase("decode-and-obey", 0.7, "decode|decipher|decrypt|unscramble|rot13", r"(?:decode|decipher|decrypt|unscramble|rot-?13)\b[^\n]{0,100}?\b(?:and|then) (?:\w{1,10} ){0,2}(?:follow|execute|obey|run|do|comply|act|perform|carry out|answer)\b"),
    Phrase("pwned", 0.7, "pwned|haha", r"(?:i have been|i've been|haha|you(?:'ve| have) been|i am|say) \W{0,3}pwned", 16),
    Phrase("spaced-letters", 0.8, "i g n o r e|i.g.n.o.r.e|i-g-n-o-r-e|i_g_n_o_r_e|b y p a s s|d i s r e g a r d|j a i l b r e a k|s y s t e m p|s y s t e m  p", r"(?:i[ ._-]g[ ._-]n[ ._-]o[ ._-]r[ ._-]e|b y p a s s|d i s r e g a r d|j a i l b r e a k|s y s t e m {1,3}p r o m p t)"),
    Phrase("jailbreak-word", 0.3, "jailbreak", r"jailbreak(?:ing|ed|s)?\b"),
)  # fmt: skip


def injection_phrases() -> Iterator[Pattern]:
    for phrase in PHRASES:
        yield Pattern(
            "prompt_injection",
            phrase.rule,
            phrase.pattern.encode(),
            [literal.encode() for literal in phrase.literals.split("|")]
            if "<|" not in phrase.literals
            else [literal.encode() for literal in _template_literals(phrase.literals)],
            score=phrase.weight,
            exact=False,
            before=phrase.before,
            low=True,
        )
