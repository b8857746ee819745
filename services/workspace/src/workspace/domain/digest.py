"""What a mail with notifications says, in the reader's language, as plain text and as simple HTML."""

# ruff: noqa: RUF001 - Chinese has punctuation of its own

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from uuid import UUID
from zoneinfo import ZoneInfo

_MOST_LINES = 50
_SENTENCES = {
    ("en", "ASSIGNED"): "{actor} made {title} yours.",
    ("en", "MENTIONED"): "{actor} mentioned you in a comment on {title}.",
    ("en", "COMMENTED"): "{actor} commented on {title}.",
    ("en", "SHARED"): "{actor} shared {title} with you.",
    ("en", "WEBHOOK_PAUSED"): "The webhook {title} is paused ({reason}).",
    ("en", "RULE"): "{title}: {text}",
    ("en", "RULE_PAUSED"): "The rule {title} is paused ({reason}).",
    ("en", "JOB_ENDED"): "{job} of {resource}: {state} ({processed_count} done, {failed_count} failed).",
    ("en", "TASK_DUE"): "Due: {title}.",
    ("en", "TASK_REMINDER"): "Reminder: {title}.",
    ("en", "APPOINTMENT_REMINDER"): "Begins soon: {title}.",
    ("en", "RECLAIM_ANNOUNCED"): "{title} goes into a customer pool soon unless something happens with it.",
    ("en", "POOLED"): "{title} went into a customer pool.",
    ("en", "DOCUMENT_EXPIRED"): "A document of {title} has expired.",
    ("zh", "ASSIGNED"): "{actor}将 {title} 分配给了您。",
    ("zh", "MENTIONED"): "{actor}在 {title} 的评论中提到了您。",
    ("zh", "COMMENTED"): "{actor}评论了 {title}。",
    ("zh", "SHARED"): "{actor}与您共享了 {title}。",
    ("zh", "WEBHOOK_PAUSED"): "Webhook {title} 已暂停（{reason}）。",
    ("zh", "RULE"): "{title}：{text}",
    ("zh", "RULE_PAUSED"): "规则 {title} 已暂停（{reason}）。",
    ("zh", "JOB_ENDED"): "{job} {resource}：{state}。已处理 {processed_count} 条，失败 {failed_count} 条。",
    ("zh", "TASK_DUE"): "任务已到期：{title}。",
    ("zh", "TASK_REMINDER"): "任务提醒：{title}。",
    ("zh", "APPOINTMENT_REMINDER"): "日程即将开始：{title}。",
    ("zh", "RECLAIM_ANNOUNCED"): "{title} 若无跟进，即将进入公海。",
    ("zh", "POOLED"): "{title} 已进入公海。",
    ("zh", "DOCUMENT_EXPIRED"): "{title} 的文档已到期。",
}  # fmt: skip
_WORDS = {
    "en": {
        "": "Somebody", "import": "Import", "export": "Export", "bulk_action": "Bulk action",
        "SUCCEEDED": "finished", "FAILED": "failed",
        "BY_PERSON": "by a person", "FAILURES": "it failed too often", "GONE": "its address is gone",
        "OWNER_LEFT": "its owner has left", "RIGHTS_LOST": "its owner lacks the rights",
        "LOOP": "rules started one another in a circle", "TOO_MANY_RUNS": "too much happened at once",
    },
    "zh": {
        "": "有人", "import": "导入", "export": "导出", "bulk_action": "批量操作",
        "SUCCEEDED": "已完成", "FAILED": "失败",
        "BY_PERSON": "由人工暂停", "FAILURES": "失败次数过多", "GONE": "地址已失效",
        "OWNER_LEFT": "所有者已离开", "RIGHTS_LOST": "所有者缺少权限",
        "LOOP": "规则相互循环触发", "TOO_MANY_RUNS": "短时间内事件过多",
    },
}  # fmt: skip
_FRAMES = {
    "en": {
        "subject": "{organization}: {count} new notifications",
        "subject_of_one": "{organization}: a new notification",
        "for": "For {absent}: {sentence}",
        "more": "… and {count} more.",
        "end": "Everything is at {link} – where you also decide what is mailed to you.",
    },
    "zh": {
        "subject": "{organization}：{count} 条新通知",
        "subject_of_one": "{organization}：1 条新通知",
        "for": "代 {absent}：{sentence}",
        "more": "……以及另外 {count} 条。",
        "end": "查看全部通知，或设置接收哪些邮件：{link}",
    },
}


@dataclass(kw_only=True)
class Line:
    """Something that waits to be mailed to a person.

    Attributes:
        notification: The same in the console, if it is there.
        deputy_for: Whose it is, where the reader stands in for somebody.
        due_time: When the mail goes.
        seen: Whether it was seen or dismissed in the console meanwhile.
    """

    id: UUID
    user: UUID
    kind: str
    subject: str | None = None
    actor: UUID | None = None
    text: str | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    notification: UUID | None = None
    deputy_for: UUID | None = None
    create_time: datetime
    due_time: datetime
    seen: bool = False


@dataclass(frozen=True)
class Reader:
    """Whom a mail is for, and how they read it."""

    language_code: str
    zone: ZoneInfo
    organization: str
    link: str


def record_of(line: Line) -> str | None:
    """The record that must be readable, and whose title is shown; None where there is none.

    A comment is read with its record; a job of one's own with nothing.
    """
    if line.kind == "JOB_ENDED" or not line.subject:
        return None
    return "/".join(line.subject.split("/")[:2])


def compose(
    lines: Sequence[Line], titles: Mapping[str, str], reader: Reader
) -> tuple[str, str, str]:
    """Subject, plain text and HTML.

    Args:
        lines: What to tell, oldest first.
        titles: Name of a record or user → what people call it.
        reader: Whom to tell.
    """
    language = "zh" if reader.language_code.partition("-")[0] == "zh" else "en"
    frame = _FRAMES[language]
    values = {"organization": reader.organization, "count": len(lines), "link": reader.link}
    subject = frame["subject" if len(lines) > 1 else "subject_of_one"].format(**values)
    told = [
        (_moment(line, reader), _sentence(line, titles, language)) for line in lines[:_MOST_LINES]
    ]
    more = len(lines) - len(told)
    end = frame["end"].format(**values)
    rest = [frame["more"].format(count=more)] if more else []
    text = "\n".join([*(f"{moment}  {sentence}" for moment, sentence in told), *rest, "", end, ""])
    items = "".join(
        f"<li><small>{escape(moment)}</small> {escape(sentence)}</li>" for moment, sentence in told
    )
    tail = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in [*rest, end])
    html = f'<!DOCTYPE html><html lang="{language}"><body><ul>{items}</ul>{tail}</body></html>'
    return subject, text, html


def _moment(line: Line, reader: Reader) -> str:
    return f"{line.create_time.astimezone(reader.zone):%Y-%m-%d %H:%M}"


def _sentence(line: Line, titles: Mapping[str, str], language: str) -> str:
    words = _WORDS[language]
    record = record_of(line)
    values = {
        name: words.get(value, value)
        for name, value in {**line.parameters, "text": line.text or ""}.items()
    }
    actor = titles.get(f"users/{line.actor}", words[""])
    title = titles.get(record, record) if record else ""
    known = defaultdict(str, {**values, "actor": actor, "title": title})
    sentence = _SENTENCES[language, line.kind].format_map(known)
    if line.deputy_for is not None:
        absent = titles.get(f"users/{line.deputy_for}", words[""])
        sentence = _FRAMES[language]["for"].format(absent=absent, sentence=sentence)
    return " ".join(sentence.split())
