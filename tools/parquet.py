#!/usr/bin/env python3
"""parquet.py - unpacks parquet copies of data sets (Hugging Face) into the official layout that `cllava convert` reads.

    tools/parquet.py KIND OUT FILE.parquet ..      then: cllava convert KIND OUT DEST

The split of a file is the begin of its name, as Hugging Face writes it (train-00000-of-00003.parquet, validation-.., test-..);
--split NAME says otherwise. Give all files of all splits in one call. Pictures are written as they lie in the file, batch by batch;
questions appear under their names when all are there.

Needs the Python package pyarrow. The rest of cllava needs no Python.
"""
import argparse
import hashlib
import json
import os
import sys

BATCH = 64  # rows in memory at a time: pictures are large


class Fault(Exception):
    """Text for the user."""


class List:
    """A JSON file that grows record by record; its name appears when it is whole. form: how records are held together."""

    forms = {"array": ("[", "]"), "data": ('{"data": [', "]}"), "questions": ('{"questions": [', "]}"),
             "annotations": ('{"annotations": [', "]}"), "keyed": ("{", "}"), "lines": ("", "")}

    def __init__(self, path, form):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        self.path, self.form, self.n = path, form, 0
        self.file = open(path + ".tmp", "w", encoding="utf-8")
        self.file.write(self.forms[form][0])

    def add(self, record, key=None):
        text = json.dumps(record, ensure_ascii=False)
        if key is not None:
            text = json.dumps(str(key), ensure_ascii=False) + ": " + text
        between = "" if not self.n else "\n" if self.form == "lines" else ",\n"
        self.file.write(between + text)
        self.n += 1

    def finish(self):
        self.file.write(self.forms[self.form][1] + "\n")
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        os.replace(self.path + ".tmp", self.path)


class Release:
    """The folder that is made: its lists by name, and pictures below it."""

    def __init__(self, out):
        self.out, self.lists, self.pictures = out, {}, 0

    def list(self, name, form):
        if name not in self.lists:
            self.lists[name] = List(os.path.join(self.out, name), form)
        return self.lists[name]

    def picture(self, name, value):
        """Writes a picture ({bytes, path}, or bytes); names come from files that others wrote."""
        content = value.get("bytes") if isinstance(value, dict) else value
        if not content:
            return
        parts = name.split("/")
        if name.startswith("/") or ".." in parts or "\0" in name:
            raise Fault(f"a picture name that leads out of its folder: {name!r}")
        path = os.path.join(self.out, *parts)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.exists(path) and os.path.getsize(path) == len(content):
            return
        with open(path + ".tmp", "wb") as file:
            file.write(content)
        os.replace(path + ".tmp", path)
        self.pictures += 1

    def finish(self):
        for one in self.lists.values():
            one.finish()

    def abandon(self):
        for one in self.lists.values():
            if os.path.exists(one.path + ".tmp"):
                os.remove(one.path + ".tmp")


def content_name(value):
    """A picture that has no name gets one by its content, so that the same one is written once."""
    content = value.get("bytes") if isinstance(value, dict) else value
    return hashlib.sha1(content or b"").hexdigest()[:16]


def plain(row, *without):
    return {key: value for key, value in row.items() if key not in without and not isinstance(value, bytes)}


# ---- one function per kind: a row and its split into the release


def chartqa(release, row, split, number):
    human = row["human_or_machine"] == 0 if "human_or_machine" in row else str(row.get("type", "")).startswith("human")
    label = row.get("label", row.get("answer"))
    name = content_name(row["image"]) + ".png"
    release.picture(f"{split}/png/{name}", row["image"])
    for source in ("human", "augmented"):  # both must be there, an empty one too
        release.list(f"{split}/{split}_{source}.json", "array")
    release.list(f"{split}/{split}_{'human' if human else 'augmented'}.json", "array").add(
        {"imgname": name, "query": row.get("query", row.get("question")), "label": label[0] if isinstance(label, list) else label})


def docvqa(release, row, split, number):
    name = f"{row['ucsf_document_id']}_{row['ucsf_document_page_no']}.png"
    release.picture(f"spdocvqa_images/{name}", row["image"])
    release.list(f"spdocvqa_qas/{split}_v1.0_withQT.json", "data").add(dict(plain(row, "image"), image=f"documents/{name}"))


def iconqa(release, row, split, number):
    pid, kind = str(row.get("question_id", f"{split}-{number}")), row["ques_type"]
    choices = [part for part in str(row["choices"] or "").split(",") if part]  # a comma inside of a choice is lost in this copy
    answer = row["answer"]
    if kind != "fill_in_blank":
        answer = choices.index(answer) if answer in choices else int(answer) if str(answer).isdigit() else answer
    release.picture(f"iconqa/{split}/{kind}/{pid}/image.png", row["query_image"])
    release.list("problems.json", "keyed").add(
        {"question": row["question"], "choices": choices, "answer": answer, "ques_type": kind, "split": split}, pid)


def pathvqa(release, row, split, number):
    name = content_name(row["image"])
    release.picture(f"images/{split}/{name}.jpg", row["image"])
    release.list(f"qas/{split}.jsonl", "lines").add({"image": name, "question": row["question"], "answer": row["answer"]})


def scienceqa(release, row, split, number):
    pid = f"{split}-{number}"
    if row["image"]:
        release.picture(f"images/{split}/{pid}/image.png", row["image"])
    release.list("problems.json", "keyed").add(
        dict(plain(row, "image"), image="image.png" if row["image"] else None, split=split), pid)


def textvqa(release, row, split, number):
    release.picture(f"{'test' if split == 'test' else 'train'}_images/{row['image_id']}.jpg", row["image"])
    release.list(f"TextVQA_0.5.1_{split}.json", "data").add(plain(row, "image"))


def vizwiz(release, row, split, number):
    name = row.get("question_id") or f"VizWiz_{split}_{number - 1:08d}.jpg"
    release.picture(f"{split}/{name}", row["image"])
    answers = [one if isinstance(one, dict) else {"answer": one} for one in row["answers"] or []]
    release.list(f"Annotations/{split}.json", "array").add(
        {"image": name, "question": row["question"], "answers": answers, "answer_type": row.get("answer_type", row.get("category"))})


def gqa(release, row, split, number):
    if row.get("image"):  # pictures and questions are published as two sets of files
        release.picture(f"images/{row.get('imageId', row.get('id'))}.jpg", row["image"])
    if row.get("question"):
        release.list(f"questions1.2/{split}_balanced_questions.json", "keyed").add(plain(row, "image", "id"), row["id"])


def vqav2(release, row, split, number):
    release.picture(f"{split}2014/COCO_{split}2014_{int(row['image_id']):012d}.jpg", row["image"])
    release.list(f"v2_OpenEnded_mscoco_{split}2014_questions.json", "questions").add(
        {key: row[key] for key in ("image_id", "question", "question_id")})
    release.list(f"v2_mscoco_{split}2014_annotations.json", "annotations").add(plain(row, "image", "question"))


def ocrvqa(release, row, split, number):
    release.picture(f"images/{row['image_id']}.jpg", row["image"])
    release.list("dataset.json", "keyed").add(
        {"imageURL": ".jpg", "questions": row["questions"], "answers": row["answers"], "title": row.get("title"),
         "authorName": row.get("authorName"), "genre": row.get("genre"), "split": {"train": 1, "val": 2, "test": 3}[split]},
        row["image_id"])


KINDS = {one.__name__: one for one in (chartqa, docvqa, iconqa, pathvqa, scienceqa, textvqa, vizwiz, gqa, vqav2, ocrvqa)}


def split_of(path, given):
    name = given or os.path.basename(path).split("-")[0].split(".")[0]
    name = {"validation": "val", "valid": "val"}.get(name, name)
    if name not in ("train", "val", "test", "testdev"):
        raise Fault(f"{path}: of which split? (got {name}, expected train, val, test or testdev); hint: --split NAME")
    return name


def unpack(kind, release, files, given):
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise Fault("the Python package pyarrow is missing; hint: pip install pyarrow") from None
    numbers = {}
    for path in files:
        split = split_of(path, given)
        try:
            file = parquet.ParquetFile(path)
        except Exception as error:  # pyarrow has no common class of them
            raise Fault(f"{path}: no parquet file: {error}") from None
        for batch in file.iter_batches(batch_size=BATCH):
            for row in batch.to_pylist():
                number = numbers[split] = numbers.get(split, 0) + 1
                try:
                    KINDS[kind](release, row, split, number)
                except (KeyError, TypeError, ValueError) as error:
                    raise Fault(f"{path}: row {number} of split {split} is none of {kind}: {type(error).__name__} {error} "
                                f"(columns: {', '.join(row)})") from None
            print(f"\r{path}: {numbers[split]} rows", end="", file=sys.stderr)
        print(file=sys.stderr)
    release.finish()
    for name, one in sorted(release.lists.items()):
        print(f"{os.path.join(release.out, name)}: {one.n} records")
    print(f"{release.pictures} pictures\nnext: cllava convert {kind} {release.out} DEST")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=sorted(KINDS), metavar="KIND", help=", ".join(sorted(KINDS)))
    parser.add_argument("out", metavar="OUT", help="folder to make")
    parser.add_argument("files", nargs="+", metavar="FILE", help="parquet files")
    parser.add_argument("--split", help="split of all files: train, val, test, testdev")
    given = parser.parse_args()
    release = Release(given.out)
    try:
        unpack(given.kind, release, given.files, given.split)
    except (Fault, OSError) as fault:
        print(f"parquet.py: error: {fault}", file=sys.stderr)
        return 1
    finally:
        release.abandon()
    return 0


if __name__ == "__main__":
    sys.exit(main())
