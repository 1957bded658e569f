"""Forms of the pages."""

from django import forms

from testproject.notes.models import Note


class NoteForm(forms.ModelForm):
    class Meta:
        model = Note
        fields = ["title", "body"]
        widgets = {"body": forms.Textarea(attrs={"rows": 4})}


class UploadForm(forms.Form):
    file = forms.FileField()
    note = forms.ModelChoiceField(
        Note.objects.none(),
        required=False,
        empty_label="Do not keep it, only measure it",
        help_text="Signed-in users can attach the file to one of their notes.",
    )
