"""Files as a front end uses them, by REST through the gateway: attachments, and the organisation's logo."""

import io
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from .conftest import Client, RunningSystem

PAGE = b"<!doctype html><script>alert(document.cookie)</script>"


async def account(admin: Client, name: str) -> str:
    made = await admin.post("/v1/accounts", {"display_name": name})
    return str(made["name"])


async def send(
    client: Client, record: str, content: bytes, file_name: str, **headers: str
) -> httpx.Response:
    path, said = f"/v1/{record}/attachments", {"content-type": "text/html", **headers}
    query = {"file_name": file_name}
    return await client.http.post(path, params=query, content=content, headers=said)


async def added(client: Client, record: str, content: bytes, file_name: str) -> dict[str, Any]:
    answer = await send(client, record, content, file_name)
    assert answer.status_code == httpx.codes.OK, answer.text
    made: dict[str, Any] = answer.json()
    return made


def sizes_of_files(crm: RunningSystem, attachment: str) -> list[int]:
    """Of those that are called as an attachment's id, in the system's folder."""
    folder = Path(crm.system.options.data_dir, "attachments", "customer")
    return [path.stat().st_size for path in folder.rglob(attachment.rpartition("/")[2])]


async def test_a_file_goes_up_and_comes_down_through_the_gateway(crm: RunningSystem) -> None:
    """Larger than a message: it travels in pieces both ways; nothing in the folder has its name."""
    record = await account(crm.admin, "Initech")
    content = b"%PDF-1.7\n" + bytes(range(256)) * 4096 * 6
    made = await added(crm.admin, record, content, "../Angebot 合同.pdf")
    assert made["file_name"] == "Angebot 合同.pdf"
    assert (made["content_type"], made["size_bytes"]) == ("application/pdf", str(len(content)))
    answer = await crm.admin.http.get(f"/v1/{made['name']}:download")
    assert answer.content == content
    listed = await crm.admin.get(f"/v1/{record}/attachments")
    assert listed["attachments"] == [made]
    assert sizes_of_files(crm, made["name"]) == [len(content)]


async def test_a_page_that_was_attached_is_saved_and_never_shown(crm: RunningSystem) -> None:
    """INVARIANT: guarantees 16: attachment, nosniff, sandbox, and no type that a browser would run."""
    record = await account(crm.admin, "Initrode")
    for name, content in (
        ("page.html", PAGE),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
    ):
        made = await added(crm.admin, record, content, name)
        answer = await crm.admin.http.get(f"/v1/{made['name']}:download")
        assert answer.content == content
        headers = answer.headers
        assert headers["content-disposition"] == (
            f"attachment; filename=\"{name}\"; filename*=UTF-8''{name}"
        )
        assert headers["content-type"] == "application/octet-stream"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert headers["cache-control"] == "no-store"


async def test_bad_files_get_a_clear_answer(crm: RunningSystem) -> None:
    record = await account(crm.admin, "Vandelay")
    for content, name, reason, field in (
        (PAGE, "photo.jpg", "CONTENT_CONTRADICTS_NAME", "file_name"),
        (b"", "empty.txt", "REQUIRED_FIELD", "file"),
        (b"x", "", "REQUIRED_FIELD", "file_name"),
        (b"x", "../..", "INVALID_FIELD", "file_name"),
        (bytes(26 << 20), "big.bin", "ATTACHMENT_TOO_LARGE", "file"),
    ):
        answer = await send(crm.admin, record, content, name)
        assert answer.status_code == httpx.codes.BAD_REQUEST, (name, answer.text)
        details = answer.json()["details"]
        found = [detail["reason"] for detail in details if "reason" in detail]
        fields = [v["field"] for d in details for v in d.get("field_violations", ())]
        assert (found, fields) == ([reason], [field])
    form = {"file": ("a.txt", b"text")}
    path = f"/v1/{record}/attachments?file_name=a.txt"
    answer = await crm.admin.http.post(path, files=form)
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert "not a form" in answer.text
    assert (await crm.admin.get(f"/v1/{record}/attachments"))["attachments"] == []


async def test_nobody_reads_a_file_without_a_token(crm: RunningSystem) -> None:
    record = await account(crm.admin, "Umbrella")
    made = await added(crm.admin, record, b"secret", "plan.txt")
    async with httpx.AsyncClient(base_url=crm.system.url, trust_env=False) as stranger:
        answer = await stranger.get(f"/v1/{made['name']}:download")
    assert answer.status_code == httpx.codes.UNAUTHORIZED
    assert b"secret" not in answer.content


async def test_a_repeated_upload_makes_one_attachment(crm: RunningSystem) -> None:
    """INVARIANT: a client that lost the answer sends again and gets it."""
    record = await account(crm.admin, "Hooli")
    key = {"idempotency-key": "0b7a1f5e-6c1d-4a57-9a55-6f1f0b5d3a11"}
    answers = [await send(crm.admin, record, b"once", "a.txt", **key) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert len((await crm.admin.get(f"/v1/{record}/attachments"))["attachments"]) == 1


async def test_deleting_and_restoring_over_rest(crm: RunningSystem) -> None:
    record = await account(crm.admin, "Stark")
    made = await added(crm.admin, record, b"text", "a.txt")
    gone = (await crm.admin.http.delete(f"/v1/{made['name']}")).json()
    assert gone["purge_time"] > gone["delete_time"]
    back = await crm.admin.post(f"/v1/{made['name']}:undelete")
    assert "delete_time" not in back
    await crm.admin.http.delete(f"/v1/{made['name']}")
    await crm.admin.post(f"/v1/{made['name']}:purge")
    shown = await crm.admin.get(f"/v1/{record}/attachments", show_deleted="true")
    assert shown["attachments"] == []


async def test_the_logo_is_a_picture_for_everybody(crm: RunningSystem) -> None:
    """Set by the administrator, shown to strangers, who may keep it; what is no picture is refused."""
    picture = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(picture, "WEBP")
    http, path = crm.admin.http, "/v1/organization:uploadLogo"
    said = {"content-type": "image/webp"}
    answer = await http.post(path, content=picture.getvalue(), headers=said)
    assert answer.status_code == httpx.codes.OK, answer.text
    async with httpx.AsyncClient(base_url=crm.system.url, trust_env=False) as stranger:
        shown = await stranger.get(answer.json()["logo_uri"])
        refused = await stranger.post(path, content=picture.getvalue(), headers=said)
    assert Image.open(io.BytesIO(shown.content), formats=["PNG"]).size == (40, 30)
    assert shown.headers["content-type"] == "image/png"
    assert shown.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert shown.headers["x-content-type-options"] == "nosniff"
    assert refused.status_code == httpx.codes.UNAUTHORIZED
    for content, status in ((PAGE, 400), (b"<svg/>", 400), (bytes(5 << 20), 413)):
        assert (await http.post(path, content=content, headers=said)).status_code == status


async def test_a_document_lives_through_the_gateway(crm: RunningSystem) -> None:
    """What the query says of it, a second version, a change by PATCH, and the list over all accounts."""
    record = await account(crm.admin, "Globex")
    query = {
        "file_name": "Mietvertrag.pdf", "title": "Lease", "folder": "contracts/2026",
        "expire_time": "2027-06-30T00:00:00Z", "comment": "draft",
    }  # fmt: skip
    path, said = f"/v1/{record}/documents", {"content-type": "application/pdf"}
    params = [*query.items(), ("tags", "signed"), ("tags", "paper")]
    first = await crm.admin.http.post(path, params=params, content=b"%PDF-1.7\n1", headers=said)
    assert first.status_code == httpx.codes.OK, first.text
    made = first.json()
    assert (made["tags"], made["expire_time"]) == (["signed", "paper"], "2027-06-30T00:00:00Z")
    second = await crm.admin.http.post(
        f"/v1/{made['name']}:addVersion",
        params={"comment": "final"},
        content=b"%PDF-1.7\n2",
        headers=said,
    )
    assert second.json()["version_number"] == 2, second.text
    answer = await crm.admin.http.get(f"/v1/{made['name']}:download")
    assert answer.content == b"%PDF-1.7\n2"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    versions = (await crm.admin.get(f"/v1/{made['name']}/versions"))["versions"]
    assert [v["comment"] for v in versions] == ["final", "draft"]
    old = await crm.admin.http.get(f"/v1/{versions[1]['name']}:download")
    assert old.content == b"%PDF-1.7\n1"
    moved = await crm.admin.http.patch(f"/v1/{made['name']}", json={"folder": "archive"})
    assert moved.json()["folder"] == "archive", moved.text
    found = await crm.admin.get(
        "/v1/accounts/-/documents", filter='expire_time < "2027-07-01" AND folder = "archive"'
    )
    assert [document["title"] for document in found["documents"]] == ["Lease"]
    assert (await crm.admin.http.delete(f"/v1/{made['name']}")).json()["purge_time"]
    assert (await crm.admin.get(path))["documents"] == []
