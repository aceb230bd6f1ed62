"""What people write on an incident: notes, status updates, custom field values. Hold the account's lock."""

from .errors import ApiError, invalid
from .faults import Faults
from .model import Actor, Incident, Json, Note
from .recording import Recorder
from .render import Shapes
from .state import new_note_id
from .webhooks import part_data, trim


class Notes:
    """Notes stay where they are when an incident is resolved; when it is merged, a knob says."""

    def __init__(self, faults: Faults, shapes: Shapes, record: Recorder) -> None:
        self._faults, self._shapes, self._record = faults, shapes, record

    def add(self, incident: Incident, content: str, actor: Actor) -> Note:
        """Add a note; open and resolved incidents take it ("Edit Incidents" support page)."""
        knobs = self._faults.knobs
        if len(incident.notes) >= knobs.notes_limit:
            # "Create a note on an incident" API page: 2000 an incident; how one more is answered is not known.
            status, code = map(int, knobs.notes_limit_refusal.split())
            message = "Invalid Input Provided" if code == 2001 else "Product Limit Reached"
            raise ApiError(status, message, code, f"Incident cannot have more than {knobs.notes_limit} notes.")
        if actor.user_id is None:
            raise invalid("Requester User Not Found", code=1008)
        at = self._record.touch(incident)
        note = Note(new_note_id(), actor.user_id, content, at, at)
        incident.notes.append(note)
        self._record.log(incident, "annotate", "Note added.", actor, at, channel={"type": "note", "summary": content})
        shown, trimmed = trim(content, knobs.note_trim_bytes)
        hidden = trimmed and knobs.trimmed_note == "nothing"
        fields = {"id": note.id, "content": None if hidden else shown, "trimmed": trimmed}
        data = part_data(self._shapes, incident, "incident_note", **fields)
        self._record.report("incident.annotated", incident, actor, at, data=data)
        return note

    def find(self, incident: Incident, note_id: str) -> Note:
        for note in incident.notes:
            if note.id == note_id:
                return note
        raise ApiError(404, "Not Found", 2100)

    def edit(self, incident: Incident, note: Note, content: str) -> None:
        """No webhook reports an edit or a deletion ("Webhooks Overview" page, by absence; changelog 2025-11-07)."""
        note.content, note.updated_at = content, self._record.touch(incident)

    def delete(self, incident: Incident, note: Note) -> None:
        incident.notes.remove(note)
        self._record.touch(incident)

    def move(self, source: Incident, target: Incident) -> None:
        """What a merge does with notes is not documented ("Merge incidents" API page speaks of alerts)."""
        target.notes.extend(source.notes)
        target.notes.sort(key=lambda note: note.created_at)
        source.notes = []

    def publish(self, incident: Incident, message: str, actor: Actor) -> tuple[str, float]:
        """A status update to subscribers; returns its id and time."""
        at, id_ = self._record.touch(incident), new_note_id()
        shown, trimmed = trim(message, self._faults.knobs.note_trim_bytes)
        fields = {"id": id_, "message": shown, "trimmed": trimmed}
        data = part_data(self._shapes, incident, "incident_status_update", **fields)
        self._record.report("incident.status_update_published", incident, actor, at, data=data)
        return id_, at

    def set_custom_fields(self, incident: Incident, values: Json, actor: Actor) -> None:
        incident.custom_fields.update(values)
        self._record.log(incident, "custom_field_value_change", "Custom fields changed.", actor)
