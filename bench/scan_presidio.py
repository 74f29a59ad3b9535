"""Runs in an environment of its own, with presidio-analyzer: its pattern recognisers over texts, without any model.

Reads a JSON list of texts on stdin; prints {"version", "seconds", "found": [[[type, start, end, score], ...], ...]}.
The engine for language is a blank one that finds no names, which leaves the recognisers that are patterns, checksums
and words of context. Two things would reach for the network, and are kept from it: the list of public suffixes that
e-mail addresses are checked with, and the download of a language model.
"""

import importlib.metadata
import json
import sys
import time

import spacy
import tldextract
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine

tldextract.extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


class Blank(NlpEngine):
    """Splits words and nothing else."""

    def __init__(self):
        self._words = spacy.blank("en")

    def load(self):
        pass

    def is_loaded(self):
        return True

    def process_text(self, text, language):
        words = self._words(text)
        return NlpArtifacts(
            entities=[], tokens=words, tokens_indices=[word.idx for word in words],
            lemmas=[word.lower_ for word in words], nlp_engine=self, language=language,
        )  # fmt: skip

    def process_batch(self, texts, language, **others):
        for text in texts:
            yield text, self.process_text(text, language)

    def is_stopword(self, word, language):
        return False

    def is_punct(self, word, language):
        return False

    def get_supported_entities(self):
        return []

    def get_supported_languages(self):
        return ["en"]


def main():
    texts = json.load(sys.stdin)
    engine = Blank()
    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"], nlp_engine=engine)
    registry.recognizers = [one for one in registry.recognizers if "Spacy" not in type(one).__name__]
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])
    for text in texts[:5]:
        analyzer.analyze(text, language="en")
    began = time.process_time()
    found = [
        [[one.entity_type, one.start, one.end, one.score] for one in analyzer.analyze(text, language="en")]
        for text in texts
    ]
    seconds = time.process_time() - began
    version = importlib.metadata.version("presidio-analyzer")
    json.dump({"version": version, "seconds": seconds, "found": found}, sys.stdout)


main()
